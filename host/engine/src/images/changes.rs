//! `--change`: Dockerfile instructions that change an image's configuration (`import`, `commit`).

use crate::error::EngineError;
use hull_platform::signals::LinuxSignal;
use oci_spec::image::Config;
use std::collections::HashMap;

/// What can change an image that is there; the others are for builds.
const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR";

/// Applies instructions, such as `CMD ["sh"]` or `ENV A=1`, to a configuration.
///
/// # Errors
/// An instruction that is unknown, or needs a build; one that says nothing.
pub fn apply(config: &mut Config, changes: &[String]) -> Result<(), EngineError> {
    changes.iter().try_for_each(|change| {
        apply_one(config, change).map_err(|why| EngineError::Invalid(format!("invalid change {change:?}: {why}")))
    })
}

fn apply_one(config: &mut Config, change: &str) -> Result<(), String> {
    let change = change.trim();
    let (instruction, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let rest = rest.trim();
    let instruction = instruction.to_ascii_uppercase();
    // An empty command takes the image's away.
    if rest.is_empty() && !matches!(instruction.as_str(), "CMD" | "ENTRYPOINT") {
        return Err(format!("{instruction} needs a value"));
    }
    match instruction.as_str() {
        "CMD" => drop(config.set_cmd(command(rest))),
        "ENTRYPOINT" => drop(config.set_entrypoint(command(rest))),
        "ENV" => set_environment(config, rest)?,
        "LABEL" => {
            let mut labels: HashMap<_, _> = config.labels().clone().unwrap_or_default();
            labels.extend(pairs(rest)?);
            config.set_labels(Some(labels));
        }
        "EXPOSE" => {
            let mut ports = config.exposed_ports().clone().unwrap_or_default();
            for port in rest.split_whitespace() {
                ports.push(port_of(port)?);
            }
            config.set_exposed_ports(Some(ports));
        }
        "VOLUME" => {
            let mut volumes = config.volumes().clone().unwrap_or_default();
            volumes.extend(list(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect()));
            config.set_volumes(Some(volumes));
        }
        "USER" => drop(config.set_user(Some(rest.to_owned()))),
        "WORKDIR" if rest.starts_with('/') => drop(config.set_working_dir(Some(rest.to_owned()))),
        "WORKDIR" => return Err("a working directory is an absolute path".to_owned()),
        "STOPSIGNAL" => {
            rest.parse::<LinuxSignal>().map_err(|error| error.to_string())?;
            config.set_stop_signal(Some(rest.to_owned()));
        }
        _ => return Err(format!("{instruction} is not one of {KNOWN}")),
    }
    Ok(())
}

fn set_environment(config: &mut Config, text: &str) -> Result<(), String> {
    let mut env = config.env().clone().unwrap_or_default();
    for (key, value) in pairs(text)? {
        env.retain(|entry| entry.split('=').next() != Some(&key));
        env.push(format!("{key}={value}"));
    }
    config.set_env(Some(env));
    Ok(())
}

fn command(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return None;
    }
    Some(list(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).into()))
}

/// A JSON list of texts.
fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

fn port_of(text: &str) -> Result<String, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let known = matches!(protocol, "tcp" | "udp" | "sctp") && number.parse::<u16>().is_ok_and(|number| number > 0);
    if known { Ok(format!("{number}/{protocol}")) } else { Err(format!("{text:?} is no port")) }
}

/// `A=1 B="two words"`, or in the old way `A one value`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(text)?;
    if words.iter().all(|word| word.contains('=')) {
        let pairs = words.iter().filter_map(|word| word.split_once('='));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>();
        return if pairs.iter().any(|(key, _)| key.is_empty()) {
            Err("a name is missing".to_owned())
        } else {
            Ok(pairs)
        };
    }
    match text.split_once(char::is_whitespace) {
        Some((key, value)) if !key.contains('=') => Ok(vec![(key.to_owned(), value.trim().to_owned())]),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Words, with quotes and backslashes as in a shell.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => {
                word.get_or_insert_default().extend(letters.next());
            }
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, Some(open)) if letter == open => quote = None,
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("a quote is not closed".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<Config, EngineError> {
        let mut config = Config::default();
        config.set_env(Some(vec!["A=0".to_owned(), "Z=0".to_owned()]));
        apply(&mut config, &changes.iter().map(|change| (*change).to_owned()).collect::<Vec<_>>()).map(|()| config)
    }

    #[test]
    fn every_instruction_that_can_be_is_applied() {
        let config = changed(&[
            r#"CMD ["serve", "-v"]"#,
            "entrypoint exec /init",
            r#"ENV A=1 B="two words""#,
            "ENV C three words",
            "LABEL l='x y' m=\\\"",
            "EXPOSE 80 53/udp",
            r#"VOLUME ["/a b"]"#,
            "VOLUME /c /d",
            "USER web:web",
            "WORKDIR /srv",
            "STOPSIGNAL SIGQUIT",
        ])
        .unwrap();
        assert_eq!(config.cmd().as_deref().unwrap(), ["serve", "-v"]);
        assert_eq!(config.entrypoint().as_deref().unwrap(), ["/bin/sh", "-c", "exec /init"]);
        assert_eq!(config.env().as_deref().unwrap(), ["Z=0", "A=1", "B=two words", "C=three words"]);
        let labels = config.labels().clone().unwrap();
        assert_eq!((labels["l"].as_str(), labels["m"].as_str()), ("x y", "\""));
        assert_eq!(config.exposed_ports().as_deref().unwrap(), ["80/tcp", "53/udp"]);
        assert_eq!(config.volumes().as_deref().unwrap(), ["/a b", "/c", "/d"]);
        assert_eq!(config.user().as_deref(), Some("web:web"));
        assert_eq!(config.working_dir().as_deref(), Some("/srv"));
        assert_eq!(config.stop_signal().as_deref(), Some("SIGQUIT"));
        assert_eq!(changed(&["CMD x", "CMD"]).unwrap().cmd(), &None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for change in [
            "",
            "RUN make",
            "HEALTHCHECK CMD true",
            "ENV",
            "ENV =1",
            "ENV A",
            "ENV A=\"1",
            "EXPOSE http",
            "EXPOSE 0",
            "EXPOSE 80/x",
            "WORKDIR srv",
            "STOPSIGNAL NOPE",
        ] {
            assert!(changed(&[change]).is_err(), "{change:?}");
        }
    }
}
