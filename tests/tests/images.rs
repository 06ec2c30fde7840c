//! Images that people bring: from archives and registries, run, and taken away again.

use anyhow::{Context, Result, ensure};
use hull_tests::archive::{self, Layer};
use hull_tests::command::Finished;
use hull_tests::container::Container;
use hull_tests::host::Host;
use hull_tests::registry::{ANN, Guests, Registry};
use hull_tests::sandbox::Sandbox;
use hull_tests::{IMAGE, tests};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

tests![
    configuration_is_the_images,
    layers_lie_one_upon_the_other,
    list_inspect_and_history_have_dockers_shape,
    save_and_load_give_the_same_image,
    import_makes_an_image_of_a_tar,
    registry_takes_and_gives,
    missing_image_is_pulled_and_told_of,
    login_is_needed_kept_and_forgotten,
    used_image_is_not_removed,
    prune_takes_what_nobody_needs,
    images_of_one_vm_are_apart,
    guest_reaches_what_was_mapped_and_cannot_write_it,
    killed_load_leaves_a_store_that_works,
    wrong_input_is_one_line,
];

/// The files of the built-in image as a layer, which every image here has at its bottom.
fn base(host: &Host) -> Result<Vec<u8>> {
    static BASE: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    let mut base = BASE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(base) = &*base {
        return Ok(base.clone());
    }
    let tar =
        ["tar", "-C", "/", "-cf", "-", "bin", "sbin", "usr", "root", "home", "tmp", "var", "etc/passwd", "etc/group"];
    let made = host.shared()?.run(&[], &tar)?.ok()?.stdout;
    ensure!(made.len() > 500_000, "only {} bytes", made.len());
    Ok(base.insert(made).clone())
}

/// A sandbox and the archives that its images came from.
struct Bench {
    sandbox: Sandbox,
    base: Vec<u8>,
}

impl Bench {
    fn new(host: &Host) -> Result<Self> {
        Ok(Self { sandbox: host.fresh()?, base: base(host)? })
    }

    fn hull(&self, args: &[&str]) -> Result<Finished> {
        self.sandbox.hull(args).output()
    }

    fn says(&self, args: &[&str]) -> Result<String> {
        Ok(self.hull(args)?.ok()?.out())
    }

    /// Writes an archive of an image that has these layers upon the base.
    fn archive(&self, name: &str, layers: Vec<Layer>, config: &Value) -> Result<(PathBuf, String)> {
        let path = self.sandbox.path().join(self.sandbox.name("archive"));
        let mut all = vec![self.base.clone()];
        for layer in layers {
            all.push(layer.bytes()?);
        }
        let id = archive::write(&path, Some(name), &all, config)?;
        Ok((path, id))
    }

    /// Loads such an image; its id.
    fn load(&self, name: &str, layers: Vec<Layer>, config: &Value) -> Result<String> {
        let (path, id) = self.archive(name, layers, config)?;
        let said = self.says(&["load", "-i", &path.to_string_lossy()])?;
        ensure!(said == format!("Loaded image: {name}"), "load said {said:?}");
        Ok(id)
    }

    /// An image with one file that tells it from others.
    fn load_marked(&self, name: &str) -> Result<String> {
        self.load(name, vec![Layer::default().file("mark", name)?], &json!({"Cmd": ["cat", "/mark"]}))
    }

    /// `hull run --rm OPTIONS IMAGE COMMAND`.
    fn run(&self, options: &[&str], image: &str, command: &[&str]) -> Result<Finished> {
        self.sandbox.hull(["run", "--rm"]).args(self.sandbox.place()).args(options).arg(image).args(command).output()
    }

    fn start(&self, options: &[&str], image: &str) -> Result<Container<'_>> {
        let command = self.sandbox.hull(["run", "-d"]).args(self.sandbox.place()).args(options);
        let finished = command.arg(image).args(["sleep", "1000000"]).output()?.ok()?;
        Container::new(&self.sandbox, finished.out())
    }

    fn is_empty(&self) -> Result<bool> {
        Ok(self.says(&["images", "-q"])?.is_empty())
    }
}

fn configuration_is_the_images(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let config = json!({
        "Env": ["PATH=/bin:/usr/bin", "A=image", "B=image"], "Entrypoint": ["/bin/echo", "entry"], "Cmd": ["command"],
        "WorkingDir": "/srv", "User": "www-data", "Labels": {"l": "image"}, "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "true"]}, "Volumes": {"/data": {}},
    });
    bench.load("config:1", vec![Layer::default().directory("srv")?], &config)?;
    let finished = bench.run(&[], "config:1", &[])?.ok()?;
    assert_eq!(finished.out(), "entry command");
    let said = finished.err();
    ensure!(said.contains("health check") && said.contains("volumes at /data"), "{}", finished.describe());
    let quiet = bench.run(&["-q"], "config:1", &["other"])?.ok()?;
    assert_eq!((quiet.out().as_str(), quiet.err().as_str()), ("entry other", ""));

    let script = ["-c", "echo $A $B; pwd; id -un"];
    let seen = bench.run(&["--entrypoint", "sh", "-e", "B=user"], "config:1", &script)?.ok()?.out();
    assert_eq!(seen, "image user\n/srv\nwww-data");

    let id = bench.sandbox.hull(["create", "config:1"]).output()?.ok()?.out();
    let container = Container::new(&bench.sandbox, id)?;
    let document = container.inspect()?;
    assert_eq!(document["Config"]["StopSignal"], "SIGQUIT");
    assert_eq!(document["Config"]["Labels"], json!({"l": "image"}));
    assert_eq!(document["Image"].as_str(), Some(bench.says(&["inspect", "-f", "{{.Id}}", "config:1"])?.as_str()));
    Ok(())
}

fn layers_lie_one_upon_the_other(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let middle = Layer::default()
        .file("data/gone", "x")?
        .file("data/kept", "kept")?
        .file("opaque/old", "x")?
        .file("both", "lower")?
        .file("tree/deep/file", "x")?
        .file("large", &"0123456789abcdef".repeat(20_000))?;
    let top = Layer::default()
        .file("data/.wh.gone", "")?
        .file("opaque/.wh..wh..opq", "")?
        .file("opaque/new", "new")?
        .file("both", "upper")?
        .file(".wh.tree", "")?
        .file("tree2", "not a directory")?;
    bench.load("layers:1", vec![middle, top], &json!({"Cmd": ["sh"]}))?;
    let script = "ls /data /opaque; cat /data/kept /both; ls -d /tree* /.wh* 2>/dev/null; md5sum < /large; stat -c %h /bin/busybox";
    let seen = bench.run(&[], "layers:1", &["sh", "-c", script])?;
    let seen = seen.code(0)?;
    let lines = seen.lines();
    let expected = ["/data:", "kept", "", "/opaque:", "new", "keptupper/tree2"];
    assert_eq!(lines[..6], expected, "{}", seen.describe());
    // What a program on the host makes of the same bytes.
    let sum =
        hull_tests::command::Command::new("md5sum").stdin("0123456789abcdef".repeat(20_000)).output()?.ok()?.out();
    assert_eq!(lines[6], sum);
    ensure!(lines[7].parse::<u32>()? > 100, "applets are links to one file, even so: {}", lines[7]);
    // It is written over in the container alone.
    let overwrite = "echo mine > /both; rm -r /opaque; mkdir /tree; cat /both; ls /opaque 2>/dev/null; ls -d /tree";
    assert_eq!(bench.run(&[], "layers:1", &["sh", "-c", overwrite])?.code(0)?.out(), "mine\n/tree");
    assert_eq!(bench.run(&[], "layers:1", &["cat", "/both"])?.ok()?.out(), "upper");
    Ok(())
}

fn list_inspect_and_history_have_dockers_shape(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let id = bench.load("team/app:1", vec![Layer::default().file("f", "x")?], &json!({"Cmd": ["sh"], "User": "7"}))?;
    bench.says(&["tag", "team/app:1", "other:2"])?;
    let table = bench.hull(&["images"])?.ok()?.lines();
    ensure!(table[0].starts_with("REPOSITORY   TAG       IMAGE ID       CREATED"), "{table:?}");
    assert_eq!(table.len(), 3);
    let short = &id[7..19];
    assert_eq!(bench.says(&["images", "-q", "team/app"])?, short);
    assert_eq!(bench.says(&["image", "ls", "-q", "--no-trunc", "--filter", "reference=oth*"])?, id);
    assert_eq!(bench.says(&["images", "--format", "{{.Repository}}:{{.Tag}}", "other"])?, "other:2");
    assert_eq!(bench.says(&["images", "-qf", "dangling=true"])?, "");
    ensure!(bench.says(&["images", "--digests"])?.contains("DIGEST"));

    for reference in ["team/app:1", "other:2", &id, short, &id[7..10]] {
        let documents = bench.hull(&["image", "inspect", reference])?.ok()?.json()?;
        let document = &documents[0];
        assert_eq!(document["Id"], json!(id));
        assert_eq!(document["RepoTags"], json!(["other:2", "team/app:1"]));
        assert_eq!((&document["Config"]["User"], &document["Os"]), (&json!("7"), &json!("linux")));
        assert_eq!(document["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
    }
    assert_eq!(bench.says(&["inspect", "--type", "image", "-f", "{{.Config.User}}", "other:2"])?, "7");
    let history = bench.hull(&["history", "--no-trunc", "--format", "{{.ID}} {{.Size}}", "other:2"])?.ok()?.lines();
    assert_eq!(history.len(), 2);
    ensure!(history[0].starts_with(&id) && history[1].starts_with("<missing> "), "{history:?}");
    let usage = bench.hull(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"])?.ok()?.lines();
    assert_eq!(usage, ["Images 1 0", "Containers 0 0"]);
    Ok(())
}

fn save_and_load_give_the_same_image(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let id = bench.load_marked("saved:1")?;
    bench.says(&["tag", "saved:1", "saved:2"])?;
    let path = bench.sandbox.path().join("out.tar").to_string_lossy().into_owned();
    bench.says(&["save", "-o", &path, "saved"])?;
    assert_eq!(bench.says(&["rmi", "-f", &id])?, format!("Untagged: saved:1\nUntagged: saved:2\nDeleted: {id}"));
    ensure!(bench.is_empty()?);
    let archive = fs::read(&path)?;
    let loaded = bench.sandbox.hull(["load"]).stdin(archive).output()?.ok()?;
    assert_eq!(loaded.lines(), ["Loaded image: saved:1", "Loaded image: saved:2"]);
    assert_eq!(bench.says(&["images", "-q", "--no-trunc"])?, id);
    assert_eq!(bench.run(&[], "saved:2", &[])?.ok()?.out(), "saved:1");
    // By id it has no name in the archive. What is not whole is not there.
    bench.says(&["save", "-o", &path, &id])?;
    bench.hull(&["save", "-o", "/nonexistent/x.tar", &id])?.refused(1, &["/nonexistent/x.tar"])?;
    let missing = bench.sandbox.path().join("missing.tar");
    bench
        .hull(&["save", "-o", &missing.to_string_lossy(), "saved:1", "nosuch"])?
        .refused(1, &["no such image", "nosuch"])?;
    let left: Vec<_> = fs::read_dir(bench.sandbox.path())?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    ensure!(!left.iter().any(|name| name.to_string_lossy().contains("missing")), "{left:?}");
    bench.says(&["rmi", "saved:1", "saved:2"])?;
    assert_eq!(bench.says(&["load", "-q", "-i", &path])?, format!("Loaded image ID: {id}"));
    Ok(())
}

fn import_makes_an_image_of_a_tar(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let import =
        ["import", "-c", r#"CMD ["sh", "-c", "echo $A"]"#, "-c", "ENV A=changed", "-m", "by a test", "-", "mine:1"];
    let id = bench.sandbox.hull(import).stdin(bench.base.clone()).output()?.ok()?.out();
    ensure!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(bench.run(&[], "mine:1", &[])?.ok()?.out(), "changed");
    assert_eq!(bench.says(&["history", "--format", "{{.Comment}}", &id])?, "by a test");
    bench.hull(&["import", "-c", "RUN make", "-", "x"])?.refused(1, &["RUN", "CMD"])?;
    bench.sandbox.hull(["import", "-"]).stdin("no tar at all".repeat(100)).output()?.failed(&["refused"])?;
    bench.hull(&["import", "/nonexistent.tar"])?.refused(1, &["/nonexistent.tar"])?;
    bench.hull(&["import", "http://localhost/x.tar"])?.refused(1, &["files"])?;
    Ok(())
}

fn registry_takes_and_gives(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let registry = Registry::start(Guests::Everybody)?;
    let id = bench.load_marked("local:1")?;
    let (one, two) = (registry.name("team/one:1"), registry.name("team/two"));
    bench.says(&["tag", "local:1", &one])?;
    bench.says(&["tag", "local:1", &two])?;
    let pushed = bench.says(&["push", &one])?;
    ensure!(
        pushed
            .starts_with(&format!("The push refers to repository [{}]\n1: digest: sha256:", registry.name("team/one"))),
        "{pushed}"
    );
    let digest = pushed.split_whitespace().find(|word| word.starts_with("sha256:")).context("no digest")?.to_owned();
    assert_eq!(bench.says(&["push", "-q", &two])?, format!("{two}:latest"));
    // Another client sees the same.
    let skopeo = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{one}")];
    assert_eq!(bench.sandbox.command("skopeo").args(skopeo).output()?.ok()?.out(), digest);

    bench.says(&["rmi", "-f", &id])?;
    ensure!(bench.is_empty()?);
    let pulled = bench.hull(&["pull", &two])?.ok()?;
    let expected = [
        "Using default tag: latest".to_owned(),
        format!("latest: Pulling from {}", registry.name("team/two")),
        format!("Digest: {digest}"),
        format!("Status: Downloaded newer image for {two}:latest"),
        format!("{two}:latest"),
    ];
    assert_eq!((pulled.lines(), pulled.err().as_str()), (expected.to_vec(), ""), "quiet in a pipe");
    ensure!(bench.says(&["pull", &two])?.contains("Status: Image is up to date for"));
    assert_eq!(bench.says(&["images", "-q", "--no-trunc"])?, id);
    let by_digest = format!("{}@{digest}", registry.name("team/one"));
    assert_eq!(bench.says(&["pull", "-q", &by_digest])?, by_digest);
    assert_eq!(bench.run(&["--pull", "never"], &by_digest, &[])?.ok()?.out(), "local:1");
    bench.hull(&["pull", &registry.name("team/none")])?.refused(1, &["team/none", "not found"])?;
    bench.hull(&["pull", "--platform", "linux/s390x", &one])?.refused(1, &["linux/s390x", "linux/"])?;
    Ok(())
}

fn missing_image_is_pulled_and_told_of(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let registry = Registry::start(Guests::Everybody)?;
    let name = registry.name("app:1");
    bench.load_marked(&name)?;
    bench.says(&["push", "-q", &name])?;
    bench.says(&["rmi", &name])?;
    bench.run(&["--pull", "never"], &name, &[])?.refused(125, &["no such image", &name])?;
    let finished = bench.run(&[], &name, &[])?.ok()?;
    assert_eq!(finished.out(), name);
    let said = finished.err();
    ensure!(
        said.starts_with(&format!("Unable to find image '{name}' locally\n1: Pulling from")),
        "{}",
        finished.describe()
    );
    ensure!(said.contains("Status: Downloaded newer image for"), "{}", finished.describe());
    let again = bench.run(&[], &name, &[])?.ok()?;
    ensure!(!again.err().contains("Pulling"), "{}", again.describe());
    let always = bench.run(&["--pull=always"], &name, &[])?.ok()?;
    ensure!(always.err().contains("Status: Image is up to date for"), "{}", always.describe());
    bench.run(&["--pull=sometimes"], &name, &[])?.refused(125, &["--pull", "sometimes"])?;
    // What is built in is there, whatever is asked.
    assert_eq!(bench.run(&["--pull", "always"], IMAGE, &["echo", "hi"])?.ok()?.out(), "hi");
    // Nobody listens there.
    let absent = bench.run(&[], "127.0.0.1:1/x", &[])?.refused(125, &["127.0.0.1:1/x", "cannot talk"])?;
    ensure!(absent.err().lines().count() == 3, "{}", absent.describe());
    Ok(())
}

fn login_is_needed_kept_and_forgotten(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let registry = Registry::start(Guests::Ann)?;
    let name = registry.name("private:1");
    bench.load_marked(&name)?;
    bench.hull(&["push", &name])?.refused(1, &["denied", &format!("hull login {}", registry.authority)])?;
    let login = |user: &str, password: &str| {
        let args = ["login", "-u", user, "--password-stdin", &registry.authority];
        bench.sandbox.hull(args).stdin(format!("{password}\n")).output()
    };
    login(ANN.0, "wrong")?.refused(1, &["credentials"])?;
    let config = bench.sandbox.path().join("docker/config.json");
    ensure!(!config.exists(), "wrong credentials are kept");
    assert_eq!(login(ANN.0, ANN.1)?.ok()?.out(), "Login Succeeded");
    ensure!(fs::read_to_string(&config)?.contains(&registry.authority));
    bench.says(&["push", "-q", &name])?;
    ensure!(bench.says(&["login", &registry.authority])?.contains("existing credentials"));
    bench.says(&["rmi", &name])?;
    bench.says(&["pull", "-q", &name])?;
    let forgotten = format!("Removing login credentials for {}", registry.authority);
    assert_eq!(bench.says(&["logout", &registry.authority])?, forgotten);
    bench.hull(&["pull", "-q", &name])?.refused(1, &["denied"])?;
    assert_eq!(bench.says(&["logout", &registry.authority])?, format!("Not logged in to {}", registry.authority));
    bench.hull(&["login", &registry.authority])?.refused(1, &["--username", "--password-stdin"])?;
    bench.hull(&["login", "--password-stdin", &registry.authority])?.refused(1, &["--username"])?;
    bench.hull(&["login", "a b"])?.refused(1, &["a b"])?;
    Ok(())
}

fn used_image_is_not_removed(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let id = bench.load_marked("used:1")?;
    let container = bench.start(&[], "used:1")?;
    for reference in ["used:1", &id] {
        bench.hull(&["rmi", reference])?.refused(1, &["conflict", container.short(), &id[7..19]])?;
    }
    bench.says(&["image", "prune", "-af"])?;
    assert_eq!(container.sh("cat /mark")?, "used:1");
    // By force it loses its name, and is still there for the container.
    assert_eq!(bench.says(&["rmi", "-f", "used:1"])?, "Untagged: used:1");
    assert_eq!(bench.says(&["images", "--format", "{{.Repository}} {{.Tag}}"])?, "<none> <none>");
    container.does("stop", &["-t", "0"])?;
    container.does("start", &[])?;
    assert_eq!(container.sh("cat /mark")?, "used:1");
    container.does("rm", &["-f"])?;
    bench.says(&["image", "prune", "-f"])?;
    ensure!(bench.is_empty()?);
    bench.hull(&["rmi", "used:1"])?.refused(1, &["no such image: used:1"])?;
    bench.hull(&["rmi", "-f", "used:1"])?.code(0)?;
    Ok(())
}

fn prune_takes_what_nobody_needs(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let first = bench.load_marked("app:1")?;
    // Another image takes the name.
    bench.load("app:1", vec![Layer::default().file("mark", "second")?], &json!({"Cmd": ["cat", "/mark"]}))?;
    bench.load_marked("other:1")?;
    assert_eq!(bench.says(&["images", "-q", "--no-trunc", "-f", "dangling=true"])?, first);
    for answer in ["", "n\n", "no\n", "what\n"] {
        let asked = bench.sandbox.hull(["image", "prune"]).stdin(answer).output()?;
        asked.refused(1, &["cancelled"])?;
    }
    let pruned = bench.sandbox.hull(["image", "prune"]).stdin("y\n").output()?.ok()?.out();
    ensure!(pruned.contains(&format!("deleted: {first}")) && pruned.contains("Total reclaimed space: "), "{pruned}");
    let stopped = bench.sandbox.hull(["create", "app:1"]).output()?.ok()?.out();
    let all = bench.says(&["image", "prune", "--all", "-f"])?;
    ensure!(all.contains("untagged: other:1") && !all.contains("app:1"), "{all}");
    assert_eq!(bench.run(&[], "app:1", &[])?.ok()?.out(), "second", "what the others share is still there");

    let running = bench.start(&[], IMAGE)?;
    bench.sandbox.hull(["system", "prune"]).output()?.refused(1, &["cancelled"])?;
    let pruned = bench.says(&["system", "prune", "-f"])?;
    ensure!(pruned.contains(&stopped) && !pruned.contains(&running.id), "{pruned}");
    ensure!(!bench.is_empty()?);
    bench.says(&["system", "prune", "-af"])?;
    ensure!(bench.is_empty()?);
    assert_eq!(running.status()?, "running");
    running.does("rm", &["-f"])?;
    bench.sandbox.require_nothing_left()
}

fn images_of_one_vm_are_apart(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let (one, two) = (bench.load_marked("one:1")?, bench.load_marked("two:1")?);
    ensure!(one != two);
    let vm = ["--vm", "images"];
    let first = bench.start(&vm, "one:1")?;
    let second = bench.start(&vm, "two:1")?;
    let builtin = bench.start(&vm, IMAGE)?;
    assert_eq!((first.sh("cat /mark")?.as_str(), second.sh("cat /mark")?.as_str()), ("one:1", "two:1"));
    builtin.sh("[ ! -e /mark ]")?;
    // They come and go while it runs.
    for _ in 0..3 {
        assert_eq!(bench.run(&vm, "one:1", &[])?.ok()?.out(), "one:1");
        assert_eq!(bench.run(&vm, "two:1", &[])?.ok()?.out(), "two:1");
    }
    first.does("rm", &["-f"])?;
    assert_eq!(bench.says(&["rmi", "one:1"])?, format!("Untagged: one:1\nDeleted: {one}"));
    assert_eq!(second.sh("cat /mark; /bin/busybox true && echo ok")?, "two:1ok");
    Ok(())
}

/// Root with every device of the VM, in a VM whose `images` window has two images. Finds the window and where it ends.
const REACH: &str = r#"
    for disk in /sys/block/vd*; do [ "$(cat $disk/ro)" = 1 ] && break; done
    device=$(cat $disk/dev); mknod /tmp/images b ${device%:*} ${device#*:} || exit 8
    read_at() { dd if=/tmp/images of=/tmp/read bs=4096 skip=$1 count=1 2>/dev/null && echo $1 reads || echo $1 fails; }
    # EROFS has its magic 1024 bytes into the image, which is at the second MiB.
    dd if=/tmp/images bs=1 skip=$((1048576 + 1024)) count=4 2>/dev/null | od -An -tx1
    read_at 256; read_at 0; read_at 100000000; read_at 2000000000
    dd if=/dev/zero of=/tmp/images bs=4096 seek=256 count=1 conv=fsync 2>/dev/null && echo written || echo refused
    for dm in /sys/block/dm-*; do
        [ "$(cat $dm/ro)" = 1 ] || continue
        device=$(cat $dm/dev); mknod /tmp/dm b ${device%:*} ${device#*:}
        dd if=/dev/zero of=/tmp/dm bs=4096 count=1 conv=fsync 2>/dev/null && echo written || echo refused
        rm /tmp/dm
    done
    blockdev --setrw /tmp/images 2>/dev/null
    dd if=/dev/zero of=/tmp/images bs=4096 seek=256 count=1 conv=fsync 2>/dev/null && echo written || echo refused
"#;

fn guest_reaches_what_was_mapped_and_cannot_write_it(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    bench.load_marked("shared:1")?;
    bench.load("never-mapped:1", vec![Layer::default().file("secret", "hidden")?], &json!({"Cmd": ["true"]}))?;
    let before = layer_sums(&bench)?;
    ensure!(before.len() > 2, "{before:?}");
    let vm = ["--vm", "reach"];
    let neighbour = bench.start(&vm, "shared:1")?;
    let finished = bench.run(&[&vm[..], &["--privileged"]].concat(), "shared:1", &["sh", "-c", REACH])?;
    let lines = finished.clone().code(0)?.lines();
    let expected = [" e2 e1 f5 e0", "256 reads", "0 reads", "100000000 fails", "2000000000 fails", "refused"];
    assert_eq!(lines[..6], expected, "{}", finished.describe());
    // At least the device that the container's own image is, and once more the disk.
    ensure!(lines.len() >= 8 && lines[6..].iter().all(|line| line == "refused"), "{}", finished.describe());
    assert_eq!(neighbour.sh("cat /mark")?, "shared:1");
    assert_eq!(layer_sums(&bench)?, before, "a layer has changed");
    Ok(())
}

/// The checksums of all layers and metadata.
fn layer_sums(bench: &Bench) -> Result<Vec<String>> {
    let store = bench.sandbox.root().join("images");
    let script = "find layers rootfs -type f -exec md5sum {} + | sort";
    let command = bench.sandbox.command("sh").args(["-c", &format!("cd {} && {script}", store.display())]);
    Ok(command.output()?.ok()?.lines())
}

fn killed_load_leaves_a_store_that_works(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let text = "some text that is long enough to take a while\n".repeat(200_000);
    let (path, id) = bench.archive("big:1", vec![Layer::default().file("big", &text)?], &json!({"Cmd": ["true"]}))?;
    let path = path.to_string_lossy().into_owned();
    bench.load_marked("kept:1")?;
    for milliseconds in [1, 5, 10, 20, 40, 80] {
        let running = bench.sandbox.hull(["load", "-i", &path]).spawn()?;
        // The time is the thing under test.
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        running.signal(rustix::process::Signal::KILL).ok();
        running.finish()?;
        let listed = bench.says(&["images", "-q", "--no-trunc"])?;
        ensure!(listed.lines().count() <= 2, "{listed}");
    }
    assert_eq!(bench.says(&["load", "-i", &path])?, "Loaded image: big:1");
    assert_eq!(bench.run(&[], "big:1", &["wc", "-c", "/big"])?.ok()?.out(), format!("{} /big", text.len()));
    assert_eq!(bench.run(&[], "kept:1", &[])?.ok()?.out(), "kept:1");
    assert_eq!(bench.says(&["rmi", "big:1"])?, format!("Untagged: big:1\nDeleted: {id}"));
    bench.says(&["rmi", "kept:1"])?;
    bench.sandbox.require_nothing_left()
}

fn wrong_input_is_one_line(host: &Host) -> Result<()> {
    let bench = Bench::new(host)?;
    let (path, _) = bench.archive("cut:1", vec![], &json!({"Cmd": ["sh"]}))?;
    let bytes = fs::read(&path)?;
    let cut = bench.sandbox.path().join("cut.tar");
    let cut_path = cut.to_string_lossy().into_owned();
    for length in [0, 100, 512, bytes.len() / 2] {
        fs::write(&cut, &bytes[..length])?;
        bench.hull(&["load", "-i", &cut_path])?.refused(1, &["archive"])?;
    }
    fs::write(&cut, Layer::default().file("file", "x")?.bytes()?)?;
    bench.hull(&["load", "-i", &cut_path])?.refused(1, &["no images", "hull import"])?;
    bench.hull(&["load", "-i", "/nonexistent"])?.refused(1, &["/nonexistent"])?;
    ensure!(bench.is_empty()?);
    for (args, words) in [
        (&["pull", "A B"][..], "invalid reference"),
        (&["pull", ""], "invalid reference"),
        (&["pull", IMAGE], "built in"),
        (&["push", "nosuch:1"], "nosuch:1"),
        (&["tag", "nosuch", "x"], "no such image: nosuch:latest"),
        (&["rmi", "nosuch"], "no such image: nosuch:latest"),
        (&["rmi", "Not A Name"], "invalid reference"),
        (&["history", "nosuch"], "no such image"),
        (&["image", "inspect", "nosuch"], "no such image"),
        (&["inspect", "nosuch"], "no such object: nosuch"),
        (&["inspect", "--type", "image", "nosuch"], "no such image"),
        (&["images", "--filter", "colour=red"], "colour"),
        (&["save", "nosuch"], "no such image"),
    ] {
        bench.hull(args)?.refused(1, &[words]).with_context(|| format!("{args:?}"))?;
    }
    for args in [
        &["pull", "--platform", "linux/a/b/c", "127.0.0.1:1/x"][..],
        &["pull"],
        &["rmi"],
        &["tag", "x"],
        &["image", "x"],
    ] {
        bench.hull(args)?.failed(&["--help"]).with_context(|| format!("{args:?}"))?;
    }
    let id = bench.load_marked("named:1")?;
    bench.hull(&["tag", "named:1", "UPPER"])?.refused(1, &["lowercase"])?;
    bench.hull(&["tag", "named:1", &format!("x@{id}")])?.refused(1, &["digest"])?;
    bench
        .run(&["--platform", "linux/s390x", "--pull", "never"], "named:1", &[])?
        .refused(125, &["named:1", "platform"])?;
    Ok(())
}
