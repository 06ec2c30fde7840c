//! Whether a kernel serves as a guest's: its configuration against what hull needs (`kernel-config/required.config`).
//!
//! The configuration is looked for in `FILE.config`, then inside the file (`CONFIG_IKCONFIG`: a gzip stream between the
//! marks `IKCFG_ST` and `IKCFG_ED`), which only an uncompressed image shows.

use crate::backend::MachineError;
use crate::plan::{Discovery, KernelImage};
use flate2::read::GzDecoder;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

const REQUIRED: &str = include_str!("../../../kernel-config/required.config");

const START_MARK: &[u8] = b"IKCFG_ST";
const END_MARK: &[u8] = b"IKCFG_ED";

/// The most text of a configuration: Linux's largest are a quarter of it.
const MAX_CONFIG: u64 = 1 << 20;

/// Looks a kernel over. `with_modules`: its initial RAM file system brings the modules, so that what is built as a module
/// counts too; that is so for the stock kernel alone.
///
/// # Errors
/// [`MachineError::Io`] if the file cannot be read, [`MachineError::Plan`] if its configuration is not to be found or
/// lacks something, which is named.
pub fn inspect(path: &Path, with_modules: bool) -> Result<KernelImage, MachineError> {
    let config = configuration(path)?;
    let config = Config::parse(&config);
    let missing = config.missing(REQUIRED, with_modules);
    if !missing.is_empty() {
        let (path, missing) = (path.display(), missing.join(", "));
        return Err(MachineError::Plan(format!("kernel {path} was built without what hull needs: {missing}")));
    }
    let discovery = if config.has("CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES") {
        Discovery::CommandLine
    } else if config.has("CONFIG_ACPI") {
        Discovery::Acpi
    } else {
        let path = path.display();
        return Err(MachineError::Plan(format!(
            "kernel {path} cannot find its devices: it needs CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES or CONFIG_ACPI"
        )));
    };
    Ok(KernelImage { path: path.to_owned(), discovery })
}

fn configuration(path: &Path) -> Result<String, MachineError> {
    let failed = |path: &Path, source| MachineError::Io { action: format!("read {}", path.display()), source };
    let beside = PathBuf::from(format!("{}.config", path.display()));
    let mut file = File::open(path).map_err(|source| failed(path, source))?;
    match fs::read_to_string(&beside) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(&beside, source)),
    }
    let mut image = Vec::new();
    file.read_to_end(&mut image).map_err(|source| failed(path, source))?;
    embedded(&image).ok_or_else(|| {
        MachineError::Plan(format!(
            "kernel {} does not say how it was built: put its configuration into {}, or build it with CONFIG_IKCONFIG",
            path.display(),
            beside.display()
        ))
    })
}

/// The configuration inside an image.
fn embedded(image: &[u8]) -> Option<String> {
    let find = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark);
    let start = find(image, START_MARK)? + START_MARK.len();
    let length = find(&image[start..], END_MARK)?;
    let mut text = String::new();
    GzDecoder::new(&image[start..start + length]).take(MAX_CONFIG).read_to_string(&mut text).ok()?;
    Some(text)
}

/// A parsed configuration: symbol to value.
struct Config<'a>(HashMap<&'a str, &'a str>);

impl<'a> Config<'a> {
    fn parse(text: &'a str) -> Self {
        Self(settings(text).collect())
    }

    fn has(&self, symbol: &str) -> bool {
        self.0.get(symbol) == Some(&"y")
    }

    /// The symbols of `required` that are not there as asked, with the value asked for.
    fn missing(&self, required: &'a str, with_modules: bool) -> Vec<String> {
        let satisfied = |symbol: &str, value: &str| match self.0.get(symbol) {
            Some(has) => *has == value || (with_modules && *has == "m"),
            None => false,
        };
        let missing = settings(required).filter(|(symbol, value)| !satisfied(symbol, value));
        missing.map(|(symbol, value)| format!("{symbol}={value}")).collect()
    }
}

/// The lines `SYMBOL=VALUE` of a configuration; the rest are comments.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().map(str::trim).filter(|line| line.starts_with("CONFIG_")).filter_map(|line| line.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_missing_is_named_and_modules_count_only_where_they_are_brought() {
        let config = Config::parse("CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\n");
        let required = "# why\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n";
        assert_eq!(config.missing(required, false), ["CONFIG_B=y", "CONFIG_C=y"]);
        assert_eq!(config.missing(required, true), ["CONFIG_C=y"]);
    }

    #[test]
    fn a_configuration_inside_the_image_is_found() {
        let mut image = vec![0; 1000];
        image.extend(START_MARK);
        image.extend(gzip("CONFIG_A=y\n"));
        image.extend(END_MARK);
        assert_eq!(embedded(&image).as_deref(), Some("CONFIG_A=y\n"));
        assert_eq!(embedded(&image[..image.len() - 1]), None, "without its end");
        assert_eq!(embedded(b"IKCFG_STgarbageIKCFG_ED"), None);
        assert_eq!(embedded(b""), None);
    }

    #[test]
    fn an_inflated_configuration_is_cut_off() {
        let mut image = START_MARK.to_vec();
        image.extend(gzip(&"x".repeat(4 << 20)));
        image.extend(END_MARK);
        assert_eq!(embedded(&image).unwrap().len() as u64, MAX_CONFIG);
    }

    #[test]
    fn kernels_that_cannot_serve_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = directory.path().join("vmlinux");
        assert!(matches!(inspect(&kernel, false), Err(MachineError::Io { .. })));
        fs::write(&kernel, "not a kernel").unwrap();
        assert!(inspect(&kernel, false).unwrap_err().to_string().contains("CONFIG_IKCONFIG"));
        let beside = directory.path().join("vmlinux.config");
        let all = format!("{REQUIRED}\nCONFIG_ACPI=y\n");
        fs::write(&beside, all.replace("CONFIG_EROFS_FS=y", "CONFIG_EROFS_FS=m")).unwrap();
        assert!(inspect(&kernel, false).unwrap_err().to_string().contains("CONFIG_EROFS_FS=y"));
        assert_eq!(inspect(&kernel, true).unwrap().discovery, Discovery::Acpi);
        fs::write(&beside, format!("{all}CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n")).unwrap();
        assert_eq!(inspect(&kernel, false).unwrap().discovery, Discovery::CommandLine);
    }
}
