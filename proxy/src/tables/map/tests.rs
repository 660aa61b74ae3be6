//! A map read and written where it is in the kernel.

use std::{collections::BTreeMap, net::Ipv6Addr};

use proxy_datapath::{
    family::Addr4,
    tables::{Addresses4, Frontends4, Slots, SourceKey, Sources6},
};

use super::*;
use crate::tables::{
    PinDir,
    testing::{ScratchPins, pin_map, privileged},
};

fn scratch() -> Option<(ScratchPins, PinDir)> {
    privileged().then(|| {
        let scratch = ScratchPins::new();
        let pins = scratch.pins.clone();
        drop(pins.prepare().unwrap());
        (scratch, pins)
    })
}

#[test]
fn a_bucket_larger_than_a_read_is_read_by_a_larger_one() {
    let Some((_scratch, pins)) = scratch() else {
        return;
    };
    pin_map::<Addresses4>(&pins, 512);
    let map = Map::<Addresses4>::open(&pins.map::<Addresses4>(), Access::Write).unwrap();
    let keys: Vec<_> = (0..512).map(Addr4).collect();
    let values: Vec<_> = (1000..1512).collect();
    assert!(map.update(&keys, &values).is_empty());
    // 512 entries in 512 buckets: some bucket holds more than one.
    let mut read = BTreeMap::new();
    map.for_each_by(1, |key, value| {
        assert_eq!(read.insert(*key, *value), None, "{key:?} is read once");
    })
    .unwrap();
    assert_eq!(read, keys.into_iter().zip(values).collect());
}

#[test]
fn a_trie_of_several_pages_is_read_whole() {
    let Some((_scratch, pins)) = scratch() else {
        return;
    };
    let entries = 2 * PAGE as u32 + 5;
    pin_map::<Sources6>(&pins, entries);
    let map = Map::<Sources6>::open(&pins.map::<Sources6>(), Access::Write).unwrap();
    let mut none = 0;
    map.for_each(|_, _| none += 1).unwrap();
    assert_eq!(none, 0);
    // Ranges of all lengths, many within others.
    let keys: Vec<_> = (0..entries)
        .map(|number| SourceKey {
            prefix_length: 32 + 64 + number % 65,
            service: number / 65,
            addr: Ipv6Addr::from((0xfd00 << 112) | 1u128 << (64 - number % 65) >> 1).into(),
        })
        .collect();
    assert!(map.update(&keys, &vec![1; keys.len()]).is_empty());
    let mut read = BTreeMap::new();
    map.for_each(|key, value| {
        assert_eq!(read.insert(*key, *value), None, "{key:?} is read once");
    })
    .unwrap();
    assert_eq!(read, keys.iter().map(|key| (*key, 1)).collect());

    assert_eq!(
        map.update(
            &[SourceKey {
                service: u32::MAX,
                ..keys[0]
            }],
            &[1]
        )
        .len(),
        1
    );
    assert!(map.remove(&keys[1..]).is_empty());
    assert!(
        map.remove(&keys).is_empty(),
        "what is gone is removed already"
    );
}

#[test]
fn a_range_ends_where_it_should_or_where_the_array_does() {
    let Some((_scratch, pins)) = scratch() else {
        return;
    };
    let capacity = 3 * PAGE as u32;
    pin_map::<Slots>(&pins, capacity);
    let map = Map::<Slots>::open(&pins.map::<Slots>(), Access::Write).unwrap();
    let indices: Vec<_> = (0..capacity).collect();
    assert!(map.update(&indices, &indices).is_empty());
    for (start, count, end) in [
        (0, 0, 0),
        (0, 1, 1),
        (5, PAGE as u32, 5 + PAGE as u32),
        (7, 2 * PAGE as u32 + 1, 8 + 2 * PAGE as u32),
        (capacity - 1, 1, capacity),
        (capacity - 3, 50, capacity),
        (capacity, 4, capacity),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        let mut read = Vec::new();
        map.for_range(start, count, |index, value| {
            assert_eq!(index, *value);
            read.push(index);
        })
        .unwrap();
        assert_eq!(
            read,
            (start..end).collect::<Vec<_>>(),
            "{count} from {start}"
        );
    }
}

#[test]
fn a_write_that_fails_is_named_and_the_others_are_done() {
    let Some((_scratch, pins)) = scratch() else {
        return;
    };
    pin_map::<Slots>(&pins, 4);
    let map = Map::<Slots>::open(&pins.map::<Slots>(), Access::Write).unwrap();
    let failed = map.update(&[0, 9, 1, 8, 3], &[10, 19, 11, 18, 13]);
    let places: Vec<_> = failed.iter().map(|(at, _)| *at).collect();
    assert_eq!(places, [1, 3], "{failed:?}");
    let read = [0, 1, 2, 3].map(|index| map.lookup(&index).unwrap());
    assert_eq!(read, [Some(10), Some(11), Some(0), Some(13)]);
}

#[test]
fn maps_are_opened_with_their_own_types_and_for_what_was_asked() {
    let Some((_scratch, pins)) = scratch() else {
        return;
    };
    pin_map::<Addresses4>(&pins, 8);
    let path = pins.map::<Addresses4>();
    let reader = Map::<Addresses4>::open(&path, Access::Read).unwrap();
    assert_eq!(
        reader.update(&[Addr4(1)], &[1]).len(),
        1,
        "it is open for reading"
    );
    assert_eq!(reader.lookup(&Addr4(1)).unwrap(), None);
    let refused = Map::<Frontends4>::open(&path, Access::Read).err().unwrap();
    assert!(matches!(refused, Error::Layout { .. }), "{refused}");
}
