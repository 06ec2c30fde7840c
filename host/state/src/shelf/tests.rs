use super::*;
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

const ID: &str = "00000000000000aa";

fn shelf(dir: &Path) -> Shelf {
    let shelf = Shelf { what: "thing", entries: dir.join("things"), names: dir.join("names"), record: "record.json" };
    shelf.make().unwrap();
    shelf
}

fn add(shelf: &Shelf, name: Option<&str>, id: &str) -> Result<(), StateError> {
    let draft = shelf.draft(name)?;
    draft.publish(id, b"{}", Durability::Kept).map(drop)
}

/// What is in the directory of entries, temporary names included.
fn raw(shelf: &Shelf) -> BTreeSet<String> {
    fs::read_dir(&shelf.entries).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn names_are_dockers_and_nothing_else() {
    for name in ["ab", "a1", "0_", "A.b-c_d", "a..", &"x".repeat(128)] {
        assert!(is_name(name), "{name}");
    }
    let hostile =
        ["", "a", ".a", "..", "-a", "_a", "a/b", "../a", "a/../b", "a\0b", "a b", "a\n", "äb", ".lock", "a\\b"];
    for name in hostile.into_iter().chain([&*"x".repeat(129)]) {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn hostile_names_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    for name in ["../../etc/passwd", "..", ".lock", "a/b", ""] {
        assert!(matches!(add(&shelf, Some(name), ID), Err(StateError::InvalidName(_))), "{name}");
        assert_eq!(shelf.find_name(name).unwrap(), None);
        assert!(shelf.find(name, &|_| true).is_err());
    }
    assert!(raw(&shelf).is_empty());
}

#[test]
fn a_name_is_taken_until_its_entry_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    add(&shelf, Some("web"), ID).unwrap();
    match add(&shelf, Some("web"), "bb").unwrap_err() {
        StateError::NameTaken { name, id } => assert_eq!((&*name, &*id), ("web", ID)),
        other => panic!("{other}"),
    }
    assert_eq!(raw(&shelf), BTreeSet::from([ID.to_owned()]));
    shelf.remove(ID, Some("web")).unwrap();
    assert!(raw(&shelf).is_empty() && !shelf.names.join("web").exists());
    assert!(shelf.remove(ID, Some("web")).unwrap_err().is_not_found());
    add(&shelf, Some("web"), "bb").unwrap();
    assert_eq!(shelf.find_name("web").unwrap().as_deref(), Some("bb"));
}

#[test]
fn an_id_that_exists_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    add(&shelf, Some("web"), ID).unwrap();
    assert!(add(&shelf, Some("other"), ID).is_err());
    assert_eq!(shelf.find_name("other").unwrap(), None);
    assert_eq!(shelf.find_name("web").unwrap().as_deref(), Some(ID));
}

#[test]
fn of_eight_threads_one_gets_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let start = Barrier::new(8);
    let won: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|racer| {
                let (shelf, start) = (&shelf, &start);
                scope.spawn(move || {
                    start.wait();
                    let id = format!("{racer:016x}");
                    match add(shelf, Some("web"), &id) {
                        Ok(()) => Some(id),
                        Err(StateError::NameTaken { .. }) => None,
                        Err(other) => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(won.len(), 1);
    assert_eq!(raw(&shelf), won.iter().cloned().collect());
    assert_eq!(shelf.find_name("web").unwrap().as_deref(), Some(&*won[0]));
}

#[test]
fn makers_removers_and_sweepers_do_not_get_in_each_others_way() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|maker| {
                let shelf = &shelf;
                scope.spawn(move || {
                    for round in 0..25 {
                        let id = format!("{:016x}", maker * 100 + round);
                        let name = format!("name{maker}");
                        add(shelf, Some(&name), &id).unwrap();
                        assert_eq!(shelf.find_name(&name).unwrap().as_deref(), Some(&*id));
                        shelf.remove(&id, Some(&name)).unwrap();
                    }
                })
            })
            .collect();
        while makers.iter().any(|maker| !maker.is_finished()) {
            shelf.list().unwrap();
        }
    });
    shelf.list().unwrap();
    assert!(raw(&shelf).is_empty());
}

#[test]
fn a_dead_claim_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    // As left by a maker or a remover that died between its two steps, or by a power cut.
    for content in ["00000000000000ff\n", "", "../../..", "garbage"] {
        fs::write(shelf.names.join("web"), content).unwrap();
        assert_eq!(shelf.find_name("web").unwrap(), None);
        add(&shelf, Some("web"), ID).unwrap();
        assert_eq!(shelf.find_name("web").unwrap().as_deref(), Some(ID));
        shelf.remove(ID, Some("web")).unwrap();
    }
}

#[test]
fn a_claim_that_was_taken_over_is_not_freed_by_its_old_owner() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    add(&shelf, Some("web"), ID).unwrap();
    fs::write(shelf.names.join("web"), "bb").unwrap();
    shelf.remove(ID, Some("web")).unwrap();
    assert!(shelf.names.join("web").exists());
}

#[test]
fn what_a_dead_maker_left_is_swept_and_what_a_living_one_makes_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    for torn in [".new-dead", ".gone-dead"] {
        fs::create_dir(shelf.entries.join(torn)).unwrap();
        fs::write(shelf.entries.join(torn).join("record.json"), "{\"ver").unwrap();
    }
    let draft = shelf.draft(Some("web")).unwrap();
    assert!(shelf.list().unwrap().is_empty());
    assert_eq!(raw(&shelf).len(), 1);
    assert!(draft.path().exists());
    drop(draft);
    assert!(raw(&shelf).is_empty());
}

#[test]
fn references_are_whole_ids_names_and_beginnings_in_this_order() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let is_id = |text: &str| text.len() == 16;
    add(&shelf, Some("abc0"), "abc0000000000000").unwrap();
    add(&shelf, Some("abc1"), "abc1000000000000").unwrap();
    // A name that is the beginning of another's id, and one that is another's whole id.
    add(&shelf, Some("abc"), "dd00000000000000").unwrap();
    add(&shelf, Some("dd00000000000000"), "ee00000000000000").unwrap();
    let find = |reference| shelf.find(reference, &is_id);
    assert_eq!(find("abc1").unwrap(), "abc1000000000000");
    assert_eq!(find("/abc1").unwrap(), "abc1000000000000");
    assert_eq!(find("abc").unwrap(), "dd00000000000000");
    assert_eq!(find("dd00000000000000").unwrap(), "dd00000000000000");
    assert_eq!(find("e").unwrap(), "ee00000000000000");
    assert!(matches!(find("ab").unwrap_err(), StateError::Ambiguous { .. }));
    for missing in ["", "/", "f", "zz", "abc00000000000000", ".", "..", "../things/abc1000000000000"] {
        assert!(matches!(find(missing).unwrap_err(), StateError::NotFound { .. }), "{missing}");
    }
}

#[test]
fn what_a_power_cut_left_is_no_entry_and_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    for record in [None, Some("")] {
        fs::create_dir(shelf.entries.join(ID)).unwrap();
        if let Some(text) = record {
            fs::write(shelf.entries.join(ID).join("record.json"), text).unwrap();
        }
        fs::write(shelf.names.join("web"), ID).unwrap();
        assert_eq!(shelf.find_name("web").unwrap(), None);
        assert!(shelf.find(ID, &|_| true).unwrap_err().is_not_found());
        assert!(shelf.list().unwrap().is_empty());
        assert!(raw(&shelf).is_empty());
    }
}
