use super::frame::{Decoded, MAX_PAYLOAD, MAX_RECORD, decode, encode};
use super::*;
use crate::StateError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use Stream::{Stderr, Stdout};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn entry(second: i64, stream: Stream, text: &str) -> Entry {
    Entry { at: at(second), stream, bytes: text.as_bytes().to_vec() }
}

fn texts(entries: impl Iterator<Item = Result<Entry, StateError>>) -> Vec<String> {
    entries.map(|entry| String::from_utf8(entry.unwrap().bytes).unwrap()).collect()
}

fn small() -> Limits {
    Limits { max_bytes: 100, max_files: 3 }
}

/// A log with these pieces, one a second.
fn log(pieces: &[(Stream, &str)]) -> (tempfile::TempDir, PathBuf, LogWriter) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    let mut writer = LogWriter::open(&dir, small()).unwrap();
    for (second, (stream, text)) in (0..).zip(pieces) {
        writer.append(*stream, at(second), text.as_bytes()).unwrap();
    }
    (parent, dir, writer)
}

#[test]
fn records_round_trip_and_every_beginning_of_one_is_incomplete() {
    let mut bytes = Vec::new();
    encode(&mut bytes, Stderr, at(-5), b"hello");
    assert_eq!(decode(&bytes).entry(), Some((entry(-5, Stderr, "hello"), bytes.len())));
    for length in 0..bytes.len() {
        assert_eq!(decode(&bytes[..length]), Decoded::Incomplete, "{length}");
    }
}

#[test]
fn what_is_no_record_is_damaged_and_never_more_than_that() {
    let mut good = Vec::new();
    encode(&mut good, Stdout, at(1), b"hello");
    for (index, value) in [(0, 0), (3, 1), (4, 0), (4, 3), (5, 1), (7, 1), (15, 0x7f), (21, 9)] {
        let mut bytes = good.clone();
        bytes[index] = value;
        // Whatever the length claims, the decoder asks for no more than a record may have.
        bytes.resize(MAX_RECORD, 0);
        let decoded = decode(&bytes);
        let is_fine = index == 15 && matches!(decoded, Decoded::Record { .. });
        assert!(decoded == Decoded::Damaged || is_fine, "{index}");
    }
    assert_eq!(decode(&[0; 64]), Decoded::Damaged);
    assert_eq!(decode(&[0xff; 64]), Decoded::Damaged);
}

#[test]
fn a_log_is_read_as_it_was_written_and_again_by_the_next_writer() {
    let (_parent, dir, writer) = log(&[(Stdout, "one"), (Stderr, "two\n")]);
    drop(writer);
    let mut writer = LogWriter::open(&dir, small()).unwrap();
    writer.append(Stdout, at(2), b"").unwrap();
    writer.append(Stdout, at(2), b"three").unwrap();
    let read: Vec<_> = LogReader::open(&dir).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [entry(0, Stdout, "one"), entry(1, Stderr, "two\n"), entry(2, Stdout, "three")]);
}

#[test]
fn a_log_that_does_not_exist_is_empty_until_it_does() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    let mut reader = LogReader::open(&dir).unwrap().tail(3).unwrap();
    assert_eq!(reader.next_entry().unwrap(), None);
    LogWriter::open(&dir, small()).unwrap().append(Stdout, at(0), b"x").unwrap();
    assert_eq!(reader.next_entry().unwrap(), Some(entry(0, Stdout, "x")));
    assert!(LogWriter::open(&parent.path().join("no/log"), small()).unwrap_err().is_not_found());
}

#[test]
fn long_writes_become_several_records() {
    let (_parent, dir, mut writer) = log(&[]);
    writer.append(Stdout, at(0), &vec![b'x'; MAX_PAYLOAD + 1]).unwrap();
    let lengths: Vec<_> = LogReader::open(&dir).unwrap().map(|entry| entry.unwrap().bytes.len()).collect();
    assert_eq!(lengths, [MAX_PAYLOAD, 1]);
}

#[test]
fn the_oldest_files_go_and_the_rest_stays_in_order() {
    // Two records of 44 bytes fit in a file.
    let pieces: Vec<_> = (0..20).map(|number| format!("{number:023}\n")).collect();
    let pieces: Vec<_> = pieces.iter().map(|text| (Stdout, &**text)).collect();
    let (_parent, dir, _writer) = log(&pieces);
    assert_eq!(numbers(&dir).unwrap(), [8, 9, 10]);
    let read = texts(LogReader::open(&dir).unwrap());
    let expected: Vec<_> = pieces[14..].iter().map(|(_, text)| (*text).to_owned()).collect();
    assert_eq!(read, expected);
    assert_eq!(texts(LogReader::open(&dir).unwrap().tail(3).unwrap()), expected[3..]);
}

#[test]
fn a_torn_or_damaged_end_is_ignored_and_written_over() {
    let mut whole = Vec::new();
    encode(&mut whole, Stdout, at(9), b"torn");
    let ends = (1..whole.len()).map(|length| whole[..length].to_vec()).chain([vec![0; 50], vec![0xff; 50]]);
    for end in ends {
        let (_parent, dir, writer) = log(&[(Stdout, "one\n")]);
        drop(writer);
        let path = file_path(&dir, 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&end);
        fs::write(&path, bytes).unwrap();
        let mut reader = LogReader::open(&dir).unwrap();
        assert_eq!(reader.next_entry().unwrap(), Some(entry(0, Stdout, "one\n")));
        assert_eq!(reader.next_entry().unwrap(), None);
        assert_eq!(texts(LogReader::open(&dir).unwrap().tail(1).unwrap()), ["one\n"]);
        LogWriter::open(&dir, small()).unwrap().append(Stderr, at(2), b"two").unwrap();
        // A reader that stood before the torn record goes on with what replaced it.
        assert_eq!(reader.next_entry().unwrap(), Some(entry(2, Stderr, "two")));
    }
}

#[test]
fn damage_in_an_older_file_hides_only_the_rest_of_it() {
    let text = "x".repeat(60);
    let (_parent, dir, _writer) = log(&[(Stdout, &text), (Stdout, &text), (Stdout, "last")]);
    fs::write(file_path(&dir, 1), "garbage, and more than a header of it").unwrap();
    assert_eq!(texts(LogReader::open(&dir).unwrap()), [&*text, "last"]);
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let (_parent, dir, _writer) = log(&[(Stdout, "one")]);
    for name in ["x.log", "2.log", "00000002.txt", "+0000003.log", "99999999999999999999999.log"] {
        fs::write(dir.join(name), "x").unwrap();
    }
    assert_eq!(numbers(&dir).unwrap(), [1]);
}

#[test]
fn the_last_lines_are_those_that_ended_last_in_either_stream() {
    let (_parent, dir, _writer) =
        log(&[(Stdout, "o1\no2 be"), (Stderr, "e1\n"), (Stdout, "gin\n"), (Stderr, "e2\ne3\n"), (Stdout, "o3")]);
    let tail = |lines| texts(Lines::new(LogReader::open(&dir).unwrap().tail(lines).unwrap()));
    let all = ["o1\n", "e1\n", "o2 begin\n", "e2\n", "e3\n", "o3"];
    for lines in 0..=all.len() {
        assert_eq!(tail(lines as u64), all[all.len() - lines..], "{lines}");
    }
    assert_eq!(tail(u64::MAX), all);
}

#[test]
fn of_two_lines_that_have_not_ended_the_later_is_the_last() {
    let (_parent, dir, mut writer) = log(&[(Stdout, "a\nfirst"), (Stderr, "second"), (Stdout, " goes on")]);
    let open = |lines| LogReader::open(&dir).unwrap().tail(lines).unwrap();
    assert_eq!(texts(open(1)), ["second"]);
    assert_eq!(texts(Lines::new(open(2))), ["first goes on", "second"]);
    let mut none = open(0);
    assert_eq!(none.next_entry().unwrap(), None);
    writer.append(Stdout, at(5), b" and on\n").unwrap();
    assert_eq!(none.next_entry().unwrap(), Some(entry(5, Stdout, " and on\n")));
}

#[test]
fn every_tail_of_pseudo_random_logs_is_that_of_a_plain_count() {
    let mut state = 1_u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    for _ in 0..30 {
        let pieces: Vec<(Stream, String)> = (0..12)
            .map(|_| {
                let stream = if random(2) == 0 { Stdout } else { Stderr };
                (stream, (0..=random(6)).map(|_| if random(3) == 0 { '\n' } else { 'x' }).collect())
            })
            .collect();
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("log");
        let mut writer = LogWriter::open(&dir, Limits { max_bytes: 100, max_files: 100 }).unwrap();
        for (stream, text) in &pieces {
            writer.append(*stream, at(0), text.as_bytes()).unwrap();
        }
        let read = |reader| Lines::new(reader).map(Result::unwrap).collect::<Vec<_>>();
        let all = read(LogReader::open(&dir).unwrap());
        for lines in 0..=all.len() {
            let tail = read(LogReader::open(&dir).unwrap().tail(lines as u64).unwrap());
            assert_eq!(tail, all[all.len() - lines..], "{lines} of {pieces:?}");
        }
    }
}

#[test]
fn times_bound_what_is_read() {
    let (_parent, dir, _writer) = log(&[(Stdout, "0"), (Stdout, "1"), (Stderr, "2"), (Stdout, "3")]);
    let open = || LogReader::open(&dir).unwrap();
    assert_eq!(texts(open().since(at(2))), ["2", "3"]);
    assert_eq!(texts(open().until(at(1))), ["0", "1"]);
    assert_eq!(texts(open().since(at(1)).until(at(2))), ["1", "2"]);
    assert_eq!(texts(open().since(at(9))), Vec::<String>::new());
    assert_eq!(texts(open().until(at(1)).follow(|| panic!("there is nothing to wait for"))), ["0", "1"]);
}

#[test]
fn lines_have_the_time_of_their_first_byte_and_do_not_mix() {
    let (_parent, dir, _writer) = log(&[(Stdout, "a"), (Stderr, "x\ny"), (Stdout, "b\n\nc"), (Stderr, "z\n")]);
    let lines: Vec<_> = Lines::new(LogReader::open(&dir).unwrap()).map(Result::unwrap).collect();
    let expected = [
        entry(1, Stderr, "x\n"),
        entry(0, Stdout, "ab\n"),
        entry(2, Stdout, "\n"),
        entry(1, Stderr, "yz\n"),
        entry(2, Stdout, "c"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_line_without_end_is_handed_on_in_pieces() {
    let endless = (0..100).map(|_| Ok(entry(0, Stdout, &"x".repeat(5000))));
    let lines: Vec<_> = Lines::new(endless).map(|line| line.unwrap().bytes.len()).collect();
    assert_eq!(lines.iter().sum::<usize>(), 500_000);
    assert!(lines.iter().all(|length| *length < (64 << 10) + 5000));
}

#[test]
fn who_follows_reads_everything_across_rotation_until_the_end() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    // Kept whole: how fast the reader is must not matter here.
    let limits = Limits { max_bytes: 200, max_files: 1000 };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = LogWriter::open(&dir, limits).unwrap();
            for number in 0..1000 {
                writer.append(Stdout, at(number), format!("{number}\n").as_bytes()).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let reader = LogReader::open(&dir).unwrap();
        let read = texts(reader.follow(|| done.load(Ordering::SeqCst)));
        assert_eq!(read, (0..1000).map(|number| format!("{number}\n")).collect::<Vec<_>>());
    });
}

#[test]
fn a_reader_that_is_overtaken_goes_on_with_the_oldest_file_that_is_left() {
    let (_parent, dir, mut writer) = log(&[(Stdout, "first")]);
    let mut reader = LogReader::open(&dir).unwrap();
    for number in 0..20 {
        writer.append(Stdout, at(number), format!("{number:60}").as_bytes()).unwrap();
    }
    let read = texts(reader.by_ref());
    assert_eq!(read[0], "first");
    assert_eq!(read.len(), 4);
    assert_eq!(read[3].trim(), "19");
}

#[test]
fn following_ends_when_the_container_is_removed() {
    let (parent, dir, writer) = log(&[(Stdout, "one")]);
    let reader = LogReader::open(&dir).unwrap();
    drop(writer);
    fs::remove_dir_all(parent.path().join("log")).unwrap();
    assert_eq!(texts(reader.follow(|| true)), ["one"]);
}
