//! `hull save`.

use crate::failure::Failure;
use clap::Args;
use hull_engine::{Engine, EngineError};
use hull_platform::terminal::{Standard, is_terminal};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What is written at once.
const BUFFER: usize = 256 << 10;

/// Write images as an archive.
#[derive(Debug, Args)]
pub struct Save {
    /// The archive, which is there once it is whole; by default standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Names or ids; a repository without a tag means all of its images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Save {
    pub fn run(self) -> Result<u8, Failure> {
        let engine = Engine::open()?;
        match &self.output {
            Some(path) => self.to_file(&engine, path)?,
            None if is_terminal(Standard::Output) => {
                return Err(Failure::new("cowardly refusing to save to a terminal: give --output FILE or redirect"));
            }
            None => engine.save_images(&self.images, BufWriter::with_capacity(BUFFER, io::stdout().lock()))?,
        }
        Ok(0)
    }

    /// Under another name until it is whole.
    fn to_file(&self, engine: &Engine, path: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::new(format!("cannot write {}: {error}", path.display()));
        let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?;
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut draft = name.to_owned();
        draft.push(format!(".{}.tmp", std::process::id()));
        let draft = path.with_file_name(draft);
        let file = File::create_new(&draft).map_err(failed)?;
        let saved = self.write(engine, file, &failed).and_then(|()| fs::rename(&draft, path).map_err(failed));
        saved.inspect_err(|_| drop(fs::remove_file(&draft)))
    }

    fn write(&self, engine: &Engine, file: File, failed: &dyn Fn(io::Error) -> Failure) -> Result<(), Failure> {
        let mut writer = BufWriter::with_capacity(BUFFER, file);
        engine.save_images(&self.images, &mut writer).map_err(|error: EngineError| Failure::from(error))?;
        writer.flush().and_then(|()| writer.get_ref().sync_all()).map_err(failed)
    }
}
