//! `hull load`.

use crate::failure::Failure;
use crate::output;
use crate::progress::{Bars, Direction};
use clap::Args;
use hull_engine::images::Source;
use hull_engine::{Engine, Platform};
use hull_platform::terminal::{Standard, is_terminal};
use std::io;
use std::path::PathBuf;

/// Bring the images of an archive.
#[derive(Debug, Args)]
pub struct Load {
    /// The archive, of Docker or an OCI layout, or a directory with one; by default standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Draw no progress
    #[arg(short, long)]
    quiet: bool,
    /// Platform of the images, where there are several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
}

impl Load {
    pub fn run(self) -> Result<u8, Failure> {
        let mut stdin = io::stdin().lock();
        let source = match self.input {
            Some(path) if path.is_dir() => Source::Directory(path),
            Some(path) => Source::File(path),
            None if is_terminal(Standard::Input) => {
                return Err(Failure::new("requested load from stdin, but stdin is a terminal: give --input FILE"));
            }
            None => Source::Stream(&mut stdin),
        };
        let platform = self.platform.unwrap_or_else(Platform::of_guest);
        let loaded = Engine::open()?.load_images(source, &platform, &Bars::new(Direction::In, self.quiet))?;
        for image in loaded {
            if image.names.is_empty() {
                output::print_line(format!("Loaded image ID: {}", image.image.id))?;
            }
            for name in image.names {
                output::print_line(format!("Loaded image: {}", name.familiar()))?;
            }
        }
        Ok(0)
    }
}
