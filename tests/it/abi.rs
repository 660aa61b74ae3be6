//! The object's maps are the tables that the agent writes: parsed, not loaded, so without root.

use std::collections::BTreeMap;

use aya_obj::{Object, generated::bpf_map_type};
use proxy_datapath::{
    for_each_table,
    tables::{self, Kind, Table},
};
use switchboard::tables::OBJECT;

/// What both sides must agree on: type, bytes of a key and of a value, entries, flags.
type Shape = (u32, u32, u32, u32, u32);

#[test]
fn maps_in_the_object_are_the_tables() {
    let object = Object::parse(OBJECT).unwrap();
    let in_object: BTreeMap<&str, Shape> = object
        .maps
        .iter()
        .map(|(name, map)| {
            let shape = (
                map.map_type(),
                map.key_size(),
                map.value_size(),
                map.max_entries(),
                map.map_flags(),
            );
            (name.as_str(), shape)
        })
        .collect();
    let mut tables = BTreeMap::new();
    macro_rules! insert {
        ($table:ident) => {
            tables.insert(tables::$table::NAME, shape::<tables::$table>())
        };
    }
    for_each_table!(insert);
    for (name, shape) in tables {
        assert_eq!(
            in_object.get(name),
            Some(&shape),
            "{name}: type, key, value, entries, flags; a changed layout raises ABI_VERSION",
        );
    }
}

#[test]
fn names_fit_into_the_kernel() {
    let mut names = Vec::new();
    macro_rules! push {
        ($table:ident) => {
            names.push(tables::$table::NAME)
        };
    }
    for_each_table!(push);
    for name in names {
        assert!(
            name.len() <= 15,
            "{name}: the kernel keeps 15 bytes of a map's name"
        );
    }
}

fn shape<T: Table>() -> Shape {
    let kind = match T::KIND {
        Kind::Hash => bpf_map_type::BPF_MAP_TYPE_HASH,
        Kind::LruHash => bpf_map_type::BPF_MAP_TYPE_LRU_HASH,
        Kind::LpmTrie => bpf_map_type::BPF_MAP_TYPE_LPM_TRIE,
        Kind::Array => bpf_map_type::BPF_MAP_TYPE_ARRAY,
        Kind::PerCpuArray => bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY,
    };
    let key = u32::try_from(size_of::<T::Key>()).unwrap();
    (
        kind as u32,
        key,
        u32::try_from(size_of::<T::Value>()).unwrap(),
        T::CAPACITY,
        T::KIND.flags(),
    )
}
