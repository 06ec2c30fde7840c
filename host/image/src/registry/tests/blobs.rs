//! Transfers that break.

use super::*;
use crate::manifest::digest_of;
use crate::registry::blob::{BlobReader, Source};
use oci_spec::image::{Descriptor, MediaType};
use std::io::{self, Read};
use std::sync::atomic::AtomicBool;

/// Bytes that are not alike anywhere.
fn content(length: u32) -> Vec<u8> {
    (0..length).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).take(length as usize).collect()
}

fn read(client: &Client, endpoints: &[Endpoint], bytes: &[u8]) -> Result<Vec<u8>, RegistryError> {
    let descriptor = Descriptor::new(MediaType::ImageLayer, bytes.len() as u64, digest_of(bytes));
    let cancelled = AtomicBool::new(false);
    let source = Source { client, endpoints, repository: "a", descriptor: &descriptor, cancelled: &cancelled };
    let mut read = Vec::new();
    BlobReader::open(source)?
        .read_to_end(&mut read)
        .map_err(|error| error.downcast::<RegistryError>().unwrap_or_else(|source| panic!("{source}")))?;
    Ok(read)
}

fn from(fakes: &[&Fake]) -> Vec<Endpoint> {
    fakes.iter().map(|fake| Endpoint::of(&fake.authority)).collect()
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let bytes = content(3 << 20);
    let sent = bytes.clone();
    let calls = Mutex::new(0);
    // Breaks many times more often than there are tries, but makes headway each time.
    let fake = open(move |asked| {
        *calls.lock().unwrap() += 1;
        let cut = (*calls.lock().unwrap() <= 2).then_some((1 << 20) + 4321);
        let answer = fake::blob(asked, &sent);
        Answer { cut: cut.filter(|cut| *cut < answer.body.len()), ..answer }
    });
    assert_eq!(read(&anonymous(), &from(&[&fake]), &bytes).unwrap(), bytes);
    let ranges = fake.asked().iter().map(|asked| asked.header("range").to_owned()).collect::<Vec<_>>();
    assert_eq!(ranges[1..], ["", "bytes=1052897-", "bytes=2105794-"]);
}

#[test]
fn a_server_without_ranges_starts_again() {
    let bytes = content(100_000);
    let sent = bytes.clone();
    let calls = Mutex::new(0);
    let fake = open(move |_| {
        *calls.lock().unwrap() += 1;
        let cut = (*calls.lock().unwrap() == 1).then_some(60_000);
        Answer { cut, ..Answer::new(200, sent.clone()) }
    });
    assert_eq!(read(&anonymous(), &from(&[&fake]), &bytes).unwrap(), bytes);
    assert_eq!(fake.count("GET /v2/a/blobs"), 2);
}

#[test]
fn no_headway_is_given_up() {
    let bytes = content(100_000);
    let sent = bytes.clone();
    let fake = open(move |asked| Answer { cut: Some(1), ..fake::blob(asked, &sent) });
    let error = read(&anonymous(), &from(&[&fake]), &bytes).unwrap_err();
    assert!(matches!(error, RegistryError::GaveUp { tries: TRIES, .. }), "{error}");
    assert_eq!(fake.count("GET /v2/a/blobs"), 3);
}

#[test]
fn a_wrong_length_is_refused_before_it_is_read() {
    let bytes = content(1000);
    for length in [999, 1001, u64::MAX] {
        let sent = bytes.clone();
        let fake = open(move |_| Answer { announced: Some(length), ..Answer::new(200, sent.clone()) });
        let error = read(&anonymous(), &from(&[&fake]), &bytes).unwrap_err();
        assert!(matches!(error, RegistryError::Length { expected: 1000, .. }), "{error}");
        assert_eq!(fake.count("GET /v2/a/blobs"), 1);
    }
}

#[test]
fn no_more_is_read_than_the_descriptor_says() {
    let bytes = content(1000);
    let sent = content(5000);
    let fake = open(move |_| Answer { unannounced: true, ..Answer::new(200, sent.clone()) });
    assert_eq!(read(&anonymous(), &from(&[&fake]), &bytes).unwrap().len(), 1000);
}

#[test]
fn a_wrong_range_is_refused() {
    let bytes = content(1000);
    let sent = bytes.clone();
    let fake = open(move |asked| match asked.header("range") {
        "" => Answer { cut: Some(500), ..Answer::new(200, sent.clone()) },
        _ => Answer::new(206, &sent[400..]).header("Content-Range", "bytes 400-999/1000"),
    });
    let error = read(&anonymous(), &from(&[&fake]), &bytes).unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
}

#[test]
fn the_next_server_goes_on_where_a_mirror_failed() {
    let bytes = content(100_000);
    let (first, second) = (bytes.clone(), bytes.clone());
    let mirror = open(move |asked| match asked.header("range") {
        "" => Answer { cut: Some(70_000), ..Answer::new(200, first.clone()) },
        _ => Answer::new(500, ""),
    });
    let absent = open(|_| Answer::new(404, ""));
    let origin = open(move |asked| fake::blob(asked, &second));
    assert_eq!(read(&anonymous(), &from(&[&mirror, &absent, &origin]), &bytes).unwrap(), bytes);
    assert_eq!(origin.asked().last().unwrap().header("range"), "bytes=70000-");
    assert_eq!(absent.count("GET /v2/a/blobs"), 1);
}

#[test]
fn what_is_no_longer_wanted_ends() {
    let bytes = content(1 << 20);
    let sent = bytes.clone();
    let fake = open(move |asked| fake::blob(asked, &sent));
    let descriptor = Descriptor::new(MediaType::ImageLayer, bytes.len() as u64, digest_of(&bytes));
    let (client, endpoints, cancelled) = (anonymous(), from(&[&fake]), AtomicBool::new(false));
    let source = Source {
        client: &client,
        endpoints: &endpoints,
        repository: "a",
        descriptor: &descriptor,
        cancelled: &cancelled,
    };
    let mut reader = BlobReader::open(source).unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = io::copy(&mut reader, &mut io::sink()).unwrap_err().downcast::<RegistryError>().unwrap();
    assert!(matches!(error, RegistryError::Cancelled));
}

#[test]
fn one_connection_serves_many_blobs() {
    let bytes = content(10_000);
    let sent = bytes.clone();
    let fake = open(move |asked| fake::blob(asked, &sent));
    let client = anonymous();
    for _ in 0..5 {
        read(&client, &from(&[&fake]), &bytes).unwrap();
    }
    assert_eq!(fake.connections(), 2);
}
