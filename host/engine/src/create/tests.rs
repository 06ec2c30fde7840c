use super::*;
use crate::fixtures::config;

const ID: &str = "0123456789ab0123456789ab0123456789ab0123456789ab0123456789ab0123";

fn image(config: &str) -> Image<'static> {
    let json = format!(
        r#"{{"os":"linux","architecture":"amd64","config":{config},"rootfs":{{"type":"layers","diff_ids":["sha256:00"]}}}}"#
    );
    Image {
        id: "sha256:00".to_owned(),
        rootfs: vec!["/rootfs".into()],
        configuration: serde_json::from_str(&json).unwrap(),
        notes: Vec::new(),
        _hold: None,
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn resolved(
    config: ContainerConfig,
    entrypoint: Option<&[&str]>,
    image_config: &str,
) -> Result<ContainerConfig, EngineError> {
    resolve(config, entrypoint.map(strings), None, &image(image_config), &ID.parse().unwrap())
}

const FULL: &str = r#"{"Entrypoint":["/init"],"Cmd":["serve"],"Env":["A=image","B=image"],"User":"web","WorkingDir":"/srv",
    "Labels":{"l":"image"},"StopSignal":"SIGQUIT"}"#;

#[test]
fn an_image_fills_what_was_not_said() {
    let config = resolved(config(), None, FULL).unwrap();
    assert_eq!((config.entrypoint, config.command), (strings(&["/init"]), strings(&["serve"])));
    assert_eq!(config.env, ["A=image", "B=image"]);
    assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("web", "/srv"));
    assert_eq!(config.labels["l"], "image");
    assert_eq!(config.hostname, "0123456789ab");
    assert_eq!(config.stop_signal, 3);
}

#[test]
fn the_user_goes_before_the_image() {
    let mut asked = config();
    asked.command = strings(&["once"]);
    asked.env = strings(&["B=user", "C=user"]);
    asked.user = "1000".to_owned();
    asked.hostname = "web".to_owned();
    let config = resolved(asked, None, FULL).unwrap();
    assert_eq!((config.entrypoint, config.command), (strings(&["/init"]), strings(&["once"])));
    assert_eq!(config.env, ["B=user", "C=user", "A=image"]);
    assert_eq!((config.user.as_str(), config.hostname.as_str()), ("1000", "web"));
}

#[test]
fn a_new_entry_point_drops_the_images_command() {
    let new = resolved(config(), Some(&["/bin/sh"]), FULL).unwrap();
    assert_eq!((new.entrypoint, new.command), (strings(&["/bin/sh"]), vec![]));
    // `--entrypoint ""` takes the entry point away, and needs a command.
    assert!(resolved(config(), Some(&[]), FULL).is_err());
    let mut asked = config();
    asked.command = strings(&["ls"]);
    let bare = resolved(asked, Some(&[]), FULL).unwrap();
    assert_eq!((bare.entrypoint, bare.command), (vec![], strings(&["ls"])));
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert!(resolved(config(), None, "{}").unwrap_err().to_string().contains("No command specified"));
    for env in ["", "=x"] {
        let mut asked = config();
        asked.env = strings(&[env]);
        assert!(resolved(asked, None, FULL).is_err(), "{env:?}");
    }
    for hostname in ["a b", "-a", "a..b", &"x".repeat(64), "a/b"] {
        assert!(check_hostname(hostname).is_err(), "{hostname}");
    }
    for hostname in ["a", "web-1.example.org", "under_score"] {
        assert!(check_hostname(hostname).is_ok(), "{hostname}");
    }
}
