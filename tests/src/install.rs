//! Where the program under test and its assets are.

use anyhow::{Context, Result, ensure};
use std::env;
use std::path::{Path, PathBuf};

/// An installation of hull.
#[derive(Debug, Clone)]
pub struct Install {
    /// The program.
    pub hull: PathBuf,
    /// Kernel, initramfs, built-in image.
    pub assets: PathBuf,
}

impl Install {
    /// `HULL_BIN`, else the `hull` that was built beside this program; `HULL_ASSETS`, else `hull/` in the target
    /// directory.
    ///
    /// # Errors
    /// Says what is missing and how to make it.
    pub fn find() -> Result<Self> {
        let me = env::current_exe().context("cannot tell where this program is")?;
        let hull = match env::var_os("HULL_BIN") {
            Some(path) => path.into(),
            None => beside(&me).with_context(|| format!("no hull beside {}: run ./x test", me.display()))?,
        };
        ensure!(hull.is_file(), "{} is not a file (HULL_BIN)", hull.display());
        let assets = match env::var_os("HULL_ASSETS") {
            Some(path) => path.into(),
            None => hull.ancestors().nth(2).context("hull is not in a target directory: set HULL_ASSETS")?.join("hull"),
        };
        ensure!(assets.is_dir(), "{} is not a directory: run ./x test, or set HULL_ASSETS", assets.display());
        Ok(Self { hull, assets })
    }
}

/// Test programs are in `TARGET/PROFILE/deps`, other programs in `TARGET/PROFILE`; `hull` is in the same profile, or in one
/// that people build.
fn beside(me: &Path) -> Option<PathBuf> {
    let near = me.ancestors().skip(1).take(2).map(|directory| directory.join("hull"));
    let profiles =
        me.ancestors().skip(2).take(2).flat_map(|target| ["release/hull", "debug/hull"].map(|path| target.join(path)));
    near.chain(profiles).find(|path| path.is_file())
}
