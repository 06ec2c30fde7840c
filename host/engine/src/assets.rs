//! The files that hull needs besides its binary: guest kernel, initramfs, the built-in image, the template of the
//! writable layer. The build makes them in one directory; here they are found, never made.
//!
//! The directory is `$HULL_ASSETS`, else `lib/hull` beside the directory of the executable (an installation), else
//! `hull` there (the build tree, where the executable is `target/<profile>/hull`).

use hull_machine::plan::{Discovery, KernelImage};
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why something is missing; each says what makes it.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// No directory of assets.
    #[error("hull's files (guest kernel, initramfs, built-in image) are not in {}: `./x run` in hull's source tree makes them, or set HULL_ASSETS to their directory", list(.0))]
    NoDirectory(Vec<PathBuf>),
    /// Neither hull's own kernel nor the stock one.
    #[error("no guest kernel in {}: `./x kernel` in hull's source tree builds it", .0.display())]
    NoKernel(PathBuf),
    /// One file.
    #[error("{} is missing: `{command}` in hull's source tree makes it", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What makes it.
        command: &'static str,
    },
    /// The executable's own path is not known.
    #[error("cannot tell where hull's executable is")]
    Executable(#[source] io::Error),
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// The directory of assets.
#[derive(Debug, Clone)]
pub struct Assets {
    directory: PathBuf,
}

/// A kernel with the initramfs that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFiles {
    /// The kernel.
    pub kernel: KernelImage,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// It is the distribution's prebuilt kernel, which boots much more slowly than hull's own.
    pub stock: bool,
}

impl Assets {
    /// Finds the directory.
    ///
    /// # Errors
    /// [`AssetsError::NoDirectory`] names the places that were looked at.
    pub fn find() -> Result<Self, AssetsError> {
        let candidates = candidates()?;
        match candidates.iter().find(|path| path.is_dir()) {
            Some(directory) => Ok(Self { directory: directory.clone() }),
            None => Err(AssetsError::NoDirectory(candidates)),
        }
    }

    /// Assets in this directory.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// What to boot when the user names no kernel: hull's own, else the distribution's.
    ///
    /// # Errors
    /// There is neither, or its initramfs is missing.
    pub fn boot_files(&self) -> Result<BootFiles, AssetsError> {
        let own = self.directory.join("vmlinux");
        if own.is_file() {
            let kernel = KernelImage { path: own, discovery: Discovery::CommandLine };
            return Ok(BootFiles { kernel, initramfs: self.initramfs()?, stock: false });
        }
        let stock = self.stock_kernel();
        if !stock.is_file() {
            return Err(AssetsError::NoKernel(self.directory.clone()));
        }
        let kernel = KernelImage { path: stock, discovery: Discovery::Acpi };
        Ok(BootFiles { kernel, initramfs: self.stock_initramfs()?, stock: true })
    }

    /// Where the distribution's kernel is, if it is there.
    pub fn stock_kernel(&self) -> PathBuf {
        self.directory.join("stock").join("vmlinuz")
    }

    /// Whether a kernel is the distribution's, whatever path leads to it: by a link, or as a copy.
    pub fn is_stock_kernel(&self, path: &Path) -> bool {
        let stock = self.stock_kernel();
        let length = |path: &Path| fs::metadata(path).ok().map(|file| file.len());
        let same_file =
            || fs::canonicalize(path).is_ok_and(|path| fs::canonicalize(&stock).is_ok_and(|own| own == path));
        let same_bytes = || fs::read(path).is_ok_and(|bytes| fs::read(&stock).is_ok_and(|own| own == bytes));
        length(path).is_some() && length(path) == length(&stock) && (same_file() || same_bytes())
    }

    /// The initramfs for any kernel that has everything built in.
    ///
    /// # Errors
    /// It is missing.
    pub fn initramfs(&self) -> Result<PathBuf, AssetsError> {
        self.file("initramfs.cpio")
    }

    /// The initramfs with the modules of the distribution's kernel.
    ///
    /// # Errors
    /// It is missing.
    pub fn stock_initramfs(&self) -> Result<PathBuf, AssetsError> {
        self.file("stock/initramfs.cpio")
    }

    /// The formatted, empty template of a container's writable layer.
    ///
    /// # Errors
    /// It is missing.
    pub fn data_template(&self) -> Result<PathBuf, AssetsError> {
        self.file("data.ext4")
    }

    /// The same for a layer that nobody wants once its container has ended: without a journal, which costs time at every
    /// start.
    ///
    /// # Errors
    /// It is missing.
    pub fn scratch_template(&self) -> Result<PathBuf, AssetsError> {
        self.file("scratch.ext4")
    }

    /// The directory of a built-in image, such as `hull/busybox`.
    pub fn image(&self, repository: &str) -> PathBuf {
        self.directory.join("images").join(repository)
    }

    fn file(&self, name: &str) -> Result<PathBuf, AssetsError> {
        let path = self.directory.join(name);
        if path.is_file() { Ok(path) } else { Err(AssetsError::Missing { path, command: "./x run" }) }
    }
}

fn candidates() -> Result<Vec<PathBuf>, AssetsError> {
    if let Some(given) = env::var_os("HULL_ASSETS").filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        // The shim runs in another directory, so what it gets must not depend on this one.
        return Ok(vec![std::path::absolute(&given).unwrap_or(given)]);
    }
    let executable = hull_platform::process::current_exe().map_err(AssetsError::Executable)?;
    let above = executable.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    Ok(vec![above.join("lib").join("hull"), above.join("hull")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn own_kernel_goes_before_the_stock_one() {
        let directory = tempfile::tempdir().unwrap();
        let assets = Assets::at(directory.path());
        assert!(matches!(assets.boot_files(), Err(AssetsError::NoKernel(_))));

        touch(&directory.path().join("stock/vmlinuz"));
        assert!(matches!(assets.boot_files(), Err(AssetsError::Missing { .. })));
        touch(&directory.path().join("stock/initramfs.cpio"));
        let files = assets.boot_files().unwrap();
        assert!(files.stock);
        assert_eq!(files.kernel.discovery, Discovery::Acpi);

        touch(&directory.path().join("vmlinux"));
        touch(&directory.path().join("initramfs.cpio"));
        let files = assets.boot_files().unwrap();
        assert!(!files.stock);
        assert_eq!(files.kernel.discovery, Discovery::CommandLine);
    }

    #[test]
    fn the_stock_kernel_is_known_by_whatever_path() {
        let directory = tempfile::tempdir().unwrap();
        let assets = Assets::at(directory.path());
        let [stock, copy, other] = ["stock/vmlinuz", "copy", "other"].map(|name| directory.path().join(name));
        assert!(!assets.is_stock_kernel(&stock), "it is not there");
        touch(&stock);
        fs::write(&stock, "kernel").unwrap();
        fs::copy(&stock, &copy).unwrap();
        fs::write(&other, "colonel").unwrap();
        assert!(assets.is_stock_kernel(&stock) && assets.is_stock_kernel(&copy));
        assert!(!assets.is_stock_kernel(&other) && !assets.is_stock_kernel(&directory.path().join("none")));
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_makes_it() {
        let directory = tempfile::tempdir().unwrap();
        let assets = Assets::at(directory.path());
        let message = assets.boot_files().unwrap_err().to_string();
        assert!(message.contains("./x kernel"), "{message}");
        let message = assets.data_template().unwrap_err().to_string();
        assert!(message.contains("data.ext4") && message.contains("./x run"), "{message}");
    }
}
