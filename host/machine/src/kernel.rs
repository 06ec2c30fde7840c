//! Whether a kernel serves as a guest's: its configuration against what hull needs (`kernel-config/required.config`).
//!
//! The configuration is looked for in `FILE.config`, then inside the file (`CONFIG_IKCONFIG`: a gzip stream between the
//! marks `IKCFG_ST` and `IKCFG_ED`), which only an uncompressed image shows. An ELF file must besides have the PVH entry.

mod elf;

use crate::backend::MachineError;
use crate::plan::{Discovery, KernelImage};
use elf::Image;
use flate2::read::GzDecoder;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

const REQUIRED: &str = include_str!("../../../kernel-config/required.config");

const START_MARK: &[u8] = b"IKCFG_ST";
const END_MARK: &[u8] = b"IKCFG_ED";

/// What an ELF file without its entry lacks.
const PVH: &str = "CONFIG_PVH=y";

/// The most text of a configuration: Linux's largest are a quarter of it.
const MAX_CONFIG: u64 = 1 << 20;

/// Looks a kernel over. `with_modules`: its initial RAM file system brings the modules, so that what is built as a module
/// counts too; that is so for the stock kernel alone.
///
/// # Errors
/// [`MachineError::Io`] if the file cannot be read, [`MachineError::Plan`] if its configuration is not to be found or
/// lacks something, which is named.
pub fn inspect(path: &Path, with_modules: bool) -> Result<KernelImage, MachineError> {
    let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
    let image = elf::look(&mut file).map_err(|source| unreadable(path, source))?;
    let config = configuration(path, file, image)?;
    let config = Config::parse(&config);
    let mut missing = config.missing(REQUIRED, with_modules);
    if image == (Image::Elf { pvh: false }) {
        missing.push(PVH.to_owned());
    }
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

fn unreadable(path: &Path, source: io::Error) -> MachineError {
    MachineError::Io { action: format!("read {}", path.display()), source }
}

fn configuration(path: &Path, mut file: File, image: Image) -> Result<String, MachineError> {
    let beside = PathBuf::from(format!("{}.config", path.display()));
    match fs::read_to_string(&beside) {
        Ok(text) => return Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(unreadable(&beside, source)),
    }
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(|source| unreadable(path, source))?;
    let or = match image {
        Image::Elf { .. } => ", or build it with CONFIG_IKCONFIG=y",
        // It would be compressed with the rest.
        Image::Other => "",
    };
    embedded(&bytes).ok_or_else(|| {
        let (path, beside) = (path.display(), beside.display());
        MachineError::Plan(format!(
            "kernel {path} does not say how it was built: put its configuration into {beside}{or}"
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
        let advice = inspect(&kernel, false).unwrap_err().to_string();
        assert!(advice.contains("vmlinux.config") && !advice.contains("CONFIG_IKCONFIG"), "{advice}");
        let beside = directory.path().join("vmlinux.config");
        let all = format!("{REQUIRED}\nCONFIG_ACPI=y\n");
        fs::write(&beside, all.replace("CONFIG_EROFS_FS=y", "CONFIG_EROFS_FS=m")).unwrap();
        assert!(inspect(&kernel, false).unwrap_err().to_string().contains("CONFIG_EROFS_FS=y"));
        assert_eq!(inspect(&kernel, true).unwrap().discovery, Discovery::Acpi);
        fs::write(&beside, format!("{all}CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n")).unwrap();
        assert_eq!(inspect(&kernel, false).unwrap().discovery, Discovery::CommandLine);

        let elf = [b"\x7fELF\x02\x01".as_slice(), &[0; 58]].concat();
        fs::write(&kernel, elf).unwrap();
        assert!(inspect(&kernel, false).unwrap_err().to_string().contains(PVH));
        fs::remove_file(&beside).unwrap();
        assert!(inspect(&kernel, false).unwrap_err().to_string().contains("CONFIG_IKCONFIG"));
    }
}
