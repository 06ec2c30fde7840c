//! Finding and executing a program, and saying why it cannot be: a shell's distinction between a command that is not
//! there (127) and one that cannot be executed (126).

#![expect(unsafe_code, reason = "nix's execve builds its arrays anew, and allocates after the point of no return")]

use super::not_executable;
use crate::error::{failure, quote};
use hull_protocol::agent::{AgentError, ErrorCode};
use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, open, posix_fadvise};
use nix::sys::stat::{Mode, SFlag, stat};
use nix::unistd::{AccessFlags, eaccess};
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How much of a program is read ahead. Of a large one only what lies at its front, which is not worth more memory.
const READ_AHEAD: i64 = 2 << 20;

/// The file to execute for a command: itself if it names a path, else the first executable of that name on the search
/// path.
pub(super) fn find(command: &CStr, search_path: Option<&OsStr>) -> Result<PathBuf, AgentError> {
    let name = OsStr::from_bytes(command.to_bytes());
    if name.as_bytes().contains(&b'/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(error) => Err(explain(Path::new(name), error)),
        };
    }
    let directories = search_path.unwrap_or_default().as_bytes().split(|byte| *byte == b':');
    let directories = directories.map(|directory| if directory.is_empty() { b"." } else { directory });
    let mut candidates = directories.map(|directory| Path::new(OsStr::from_bytes(directory)).join(name));
    let found = if name.is_empty() { None } else { candidates.find(|candidate| check(candidate).is_ok()) };
    found.ok_or_else(|| {
        let message = format!("the command {} is not in the container's PATH", quote(&name.to_string_lossy()));
        failure(ErrorCode::CommandNotFound, message)
    })
}

/// Whether the caller may execute it.
fn check(path: &Path) -> nix::Result<()> {
    let mode = SFlag::from_bits_truncate(stat(path)?.st_mode);
    if mode & SFlag::S_IFMT == SFlag::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    eaccess(path, AccessFlags::X_OK)
}

/// Has the kernel begin to read the program of a command, so that it is in memory when it is executed. It may be another
/// one, or none, that is found in the end: nothing but time depends on it.
pub(super) fn read_ahead(command: &CStr, search_path: Option<&OsStr>) {
    let Ok(program) = find(command, search_path) else { return };
    // No process of the container runs yet that could put a device in its place.
    let is_file =
        stat(&program).is_ok_and(|status| SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG);
    if !is_file {
        return;
    }
    if let Ok(file) =
        open(&program, OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
    {
        let _hint = posix_fadvise(&file, 0, READ_AHEAD, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }
}

/// Executes it; returns only if that failed.
pub(super) fn execute(program: &Path, arguments: &[CString], environment: &[CString]) -> Errno {
    let Ok(path) = CString::new(program.as_os_str().as_bytes()) else { return Errno::ENOENT };
    let pointers = |strings: &[CString]| -> Vec<_> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer, and they and the strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Errno::last()
}

/// Why it cannot be executed.
pub(super) fn explain(program: &Path, error: Errno) -> AgentError {
    let name = quote(&program.to_string_lossy());
    match error {
        Errno::ENOENT | Errno::ENOTDIR if check(program).is_ok() => failure(
            ErrorCode::CommandNotFound,
            format!("the interpreter that the command {name} asks for does not exist"),
        ),
        Errno::ENOENT | Errno::ENOTDIR => {
            failure(ErrorCode::CommandNotFound, format!("the command {name} does not exist"))
        }
        Errno::ENOEXEC => {
            let message = format!("the command {name} is not a program that this machine can execute");
            failure(ErrorCode::CommandNotExecutable, message)
        }
        Errno::EISDIR => failure(ErrorCode::CommandNotExecutable, format!("the command {name} is a directory")),
        error => not_executable(&format!("cannot execute the command {name}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn file(directory: &Path, name: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn c(text: impl AsRef<OsStr>) -> CString {
        CString::new(text.as_ref().as_bytes()).unwrap()
    }

    #[test]
    fn the_search_path_yields_the_first_that_can_be_executed() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        fs::create_dir_all(one.join("dir")).unwrap();
        fs::create_dir(&two).unwrap();
        file(&one, "tool", 0o644);
        let tool = file(&two, "tool", 0o755);
        let path = [one.as_os_str().as_bytes(), b"", b"/nonexistent", two.as_os_str().as_bytes()].join(&b':');
        let path = Some(OsStr::from_bytes(&path));
        assert_eq!(find(&c("tool"), path).unwrap(), tool);
        for absent in ["nothing", "dir", ""] {
            assert_eq!(find(&c(absent), path).unwrap_err().code, ErrorCode::CommandNotFound, "{absent:?}");
        }
        assert_eq!(find(&c("tool"), None).unwrap_err().code, ErrorCode::CommandNotFound);
    }

    #[test]
    fn paths_are_taken_as_they_are_and_their_errors_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let code = |path: &Path| find(&c(path), Some(OsStr::new("/bin"))).unwrap_err().code;
        assert_eq!(find(&c(file(directory.path(), "x", 0o755)), None).unwrap(), directory.path().join("x"));
        assert_eq!(code(&directory.path().join("nothing")), ErrorCode::CommandNotFound);
        assert_eq!(code(&directory.path().join("x/below")), ErrorCode::CommandNotFound);
        assert_eq!(code(&file(directory.path(), "plain", 0o644)), ErrorCode::CommandNotExecutable);
        assert_eq!(code(directory.path()), ErrorCode::CommandNotExecutable);
    }

    #[test]
    fn failures_of_execution_are_explained() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let error = explain(&script, execute(&script, &[c("script")], &[]));
        assert_eq!(error.code, ErrorCode::CommandNotFound);
        assert!(error.message.contains("interpreter"), "{error}");
        let data = file(directory.path(), "data", 0o755);
        let error = explain(&data, execute(&data, &[c("data")], &[]));
        assert_eq!(error.code, ErrorCode::CommandNotExecutable);
        assert!(error.message.contains("not a program"), "{error}");
    }
}
