use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Barrier;
use std::thread;

const BLOCK: u64 = 64 << 10;

fn names(dir: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn read_at(path: &Path, offset: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![1; length];
    read_exact_at(&File::open(path).unwrap(), &mut bytes, offset).unwrap();
    bytes
}

#[test]
fn writing_replaces_whole_files_for_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    write_atomic(&path, b"one").unwrap();
    replace(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(dir.path()), ["a"]);
}

#[test]
fn a_failed_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    fs::create_dir(&taken).unwrap();
    assert!(write_atomic(&taken, b"x").is_err());
    assert!(replace(&taken, b"x").is_err());
    assert_eq!(create_exclusive(&taken, b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(names(dir.path()), ["taken"]);
    assert_eq!(write_atomic(&dir.path().join("no/a"), b"x").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(write_atomic(Path::new("/"), b"x").is_err());
}

#[test]
fn readers_see_whole_files_while_they_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    replace(&path, &[0; 4096]).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| (1..200).for_each(|byte| replace(&path, &[byte; 4096]).unwrap()));
        while !writer.is_finished() {
            let bytes = fs::read(&path).unwrap();
            assert!(bytes.len() == 4096 && bytes.iter().all(|byte| *byte == bytes[0]));
        }
    });
}

#[test]
fn of_eight_claims_one_succeeds_and_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let path = dir.path().join(format!("{round}"));
        let start = Barrier::new(8);
        let take: fn(&Path, &[u8]) -> io::Result<()> = if round % 2 == 0 { claim } else { create_exclusive };
        let won = thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|racer| {
                    let (start, path) = (&start, &path);
                    scope.spawn(move || {
                        start.wait();
                        match take(path, format!("racer {racer}").as_bytes()) {
                            Ok(()) => Some(racer),
                            Err(error) => {
                                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
                                assert!(fs::read_to_string(path).unwrap().starts_with("racer "));
                                None
                            }
                        }
                    })
                })
                .collect();
            racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(won.len(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("racer {}", won[0]));
    }
    assert_eq!(names(dir.path()).len(), 50);
}

/// 16 MiB, with one block of data in the middle and one at the end.
fn sparse(path: &Path) -> File {
    let file = sys::file::create_new(path).unwrap();
    file.set_len(16 << 20).unwrap();
    write_all_at(&file, &[7; 4096], 8 << 20).unwrap();
    write_all_at(&file, &[9; 4096], (16 << 20) - 4096).unwrap();
    file
}

#[test]
fn a_copy_has_the_same_content_and_the_same_holes() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    sparse(&from);
    copy_sparse(&from, &to).unwrap();
    assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
    assert!(allocated_bytes(&to).unwrap() <= 4 * BLOCK, "{}", allocated_bytes(&to).unwrap());
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o600);
    assert_eq!(copy_sparse(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(
        copy_sparse(&dir.path().join("no"), &dir.path().join("new")).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    assert_eq!(names(dir.path()), ["from", "to"]);
}

#[test]
fn copies_of_an_empty_and_of_a_hollow_file_have_its_size() {
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 1 << 30] {
        let (from, to) = (dir.path().join(format!("from{size}")), dir.path().join(format!("to{size}")));
        File::create(&from).unwrap().set_len(size).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().len(), size);
        assert_eq!(allocated_bytes(&to).unwrap(), 0);
    }
}

#[test]
fn a_copy_that_fails_half_way_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    // A directory can be opened, but not read as a file.
    assert!(copy_sparse(dir.path(), &to).is_err());
    assert!(!to.exists());
}

#[test]
fn punched_holes_are_given_back_and_read_as_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, vec![5; 1 << 20]).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    let before = allocated_bytes(&path).unwrap();
    punch_hole(&file, BLOCK, 4 * BLOCK).unwrap();
    punch_hole(&file, 10, 0).unwrap();
    assert!(allocated_bytes(&path).unwrap() + 4 * BLOCK <= before);
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    assert_eq!(read_at(&path, BLOCK - 1, 2), [5, 0]);
    assert_eq!(read_at(&path, 5 * BLOCK - 1, 2), [0, 5]);
}

#[test]
fn zeroed_ranges_keep_the_size_with_and_without_the_system_call() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    for zero in [zero_range, write_zeros] {
        fs::write(&path, vec![5; 200_000]).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        zero(&file, 1000, 150_000).unwrap();
        zero(&file, 199_999, 1 << 20).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 200_000);
        assert!(bytes[1000..151_000].iter().all(|byte| *byte == 0));
        assert_eq!([bytes[999], bytes[151_000], bytes[199_998], bytes[199_999]], [5, 5, 5, 0]);
    }
}

#[test]
fn ranges_beyond_every_file_are_refused() {
    let file = tempfile::tempfile().unwrap();
    for (offset, length) in [(u64::MAX, 1), (1, u64::MAX), (1 << 63, 1)] {
        assert_eq!(punch_hole(&file, offset, length).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(zero_range(&file, offset, length).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn reading_past_the_end_is_an_error() {
    let file = tempfile::tempfile().unwrap();
    write_all_at(&file, b"abc", 2).unwrap();
    let mut bytes = [9; 5];
    read_exact_at(&file, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"\0\0abc");
    assert_eq!(read_exact_at(&file, &mut bytes, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn writable_directories_are_told_from_what_is_none() {
    let dir = tempfile::tempdir().unwrap();
    assert!(is_writable_dir(dir.path()));
    assert!(!is_writable_dir(&dir.path().join("no")));
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(!is_writable_dir(&dir.path().join("file")));
}
