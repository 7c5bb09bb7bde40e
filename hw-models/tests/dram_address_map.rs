//! Address maps: every one is a bijection between the indices within the capacity and the places, or an error that says why not.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use banksia_hw::dram::controller::{AddressMap, MapSpec, Place, XorSpec};
use banksia_hw::dram::{Device, catalog};
use banksia_input::Source;
use proptest::prelude::*;

/// A device of a base with other counts, which lists its base's timings.
fn device(base: &str, count: &str, rows: u32, columns: u32) -> Arc<Device> {
    let text = format!(
        "name = \"d\"\nsource = \"test\"\nbase = \"{base}\"\n[organization]\ncount = {{ {count} }}\nrows = {rows}\ncolumns = {columns}\n"
    );
    catalog::load_source(&Source::from_text("d.toml", text)).unwrap_or_else(|e| panic!("{e}"))
}

fn spec(bits: &[&str]) -> MapSpec {
    MapSpec { bits: bits.iter().map(|b| (*b).into()).collect(), xor: Vec::new() }
}

fn xor(field: &str, bit: u32, with: &[u32]) -> XorSpec {
    XorSpec { field: field.into(), bit, with: with.to_vec() }
}

/// Every index, or every so-many-th, has a place of its own within the device, and the place leads back to it.
fn check(map: &AddressMap, device: &Device, channels: u32) {
    let all = device.capacity_bytes() / u64::from(device.access_bytes) * u64::from(channels);
    assert_eq!(map.transactions(), all);
    let step = (all / 5000).max(1);
    for i in (0..all).step_by(step as usize).chain([all - 1]) {
        let p = map.place(i);
        assert!(p.channel < channels && p.bank < device.banks && p.row < device.rows && p.column < device.columns);
        assert_eq!(map.index(p), i, "{p:?}");
        assert_eq!(map.channel(i), p.channel);
    }
}

/// Fields, cut where they can be, in any order.
fn entries(sizes: Vec<(&'static str, u32)>) -> impl Strategy<Value = Vec<String>> {
    let cuts = prop::collection::vec((any::<bool>(), 1..4u32), sizes.len());
    cuts.prop_flat_map(move |cuts| {
        let mut out = Vec::new();
        for ((name, n), (cut, bits)) in sizes.iter().zip(cuts) {
            let bits = bits.min(n.trailing_zeros());
            if cut && bits > 0 && n >> bits > 1 {
                out.push(format!("{name}:{bits}"));
            }
            out.push((*name).to_string());
        }
        Just(out).prop_shuffle()
    })
}

fn case() -> impl Strategy<Value = (Arc<Device>, u32, MapSpec)> {
    let sizes = (1..14u32, 1..5u32, 1..6u32, 1..9u32, 1..3000u32, 1..40u32);
    sizes.prop_flat_map(|(channels, rank, group, bank, rows, columns)| {
        let count = format!("rank = {rank}, bankgroup = {group}, bank = {bank}");
        let device = device("ddr4-2400r", &count, rows, columns);
        let fields = vec![
            ("channel", channels),
            ("rank", rank),
            ("bankgroup", group),
            ("bank", bank),
            ("row", rows),
            ("column", columns),
        ];
        // Whole fields may come before their cuts after the shuffle: put them behind.
        let bits = entries(fields).prop_map(|mut bits| {
            for i in 0..bits.len() {
                if let Some(cut) = bits[i + 1..].iter().position(|b| b.starts_with(&format!("{}:", bits[i]))) {
                    bits.swap(i, i + 1 + cut);
                }
            }
            bits
        });
        let powers = [("rank", rank), ("bankgroup", group), ("bank", bank)];
        let taking: Vec<_> = powers.into_iter().filter(|(_, n)| n.is_power_of_two() && *n > 1).collect();
        let xors = prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(0..30u32, 1..4)), 0..3);
        (bits, xors).prop_map(move |(bits, xors)| {
            let xor = xors.into_iter().filter(|_| !taking.is_empty()).map(|(which, with)| {
                let (name, n) = taking[which.index(taking.len())];
                xor(name, which.index(n.trailing_zeros() as usize) as u32, &with)
            });
            (device.clone(), channels, MapSpec { bits, xor: xor.collect() })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_map_is_a_bijection_over_the_capacity((device, channels, spec) in case()) {
        match AddressMap::new(&spec, &device, channels) {
            Ok(map) => check(&map, &device, channels),
            // Random XORs may lose information, or lie above the capacity; nothing else is wrong with these maps.
            Err(e) => prop_assert!(!spec.xor.is_empty() && e.key.as_deref() == Some("map.xor"), "{}: {:?}", e, spec),
        }
    }
}

/// Counts that are no power of two, one kind after the other: all places are used, in the reference map's order.
#[test]
fn counts_of_any_kind() {
    for (base, count, rows, columns, channels, bank) in [
        ("ddr4-2400r", "rank = 1, bankgroup = 4, bank = 4", 32768, 128, 12, 8),
        ("hbm3-6400", "pseudochannel = 2, sid = 3, bankgroup = 4, bank = 4", 16384, 32, 1, 16),
        ("hbm3-6400", "pseudochannel = 2, sid = 3, bankgroup = 4, bank = 4", 16384, 32, 12, 16),
        ("ddr4-2400r", "rank = 3, bankgroup = 4, bank = 4", 49152, 128, 6, 32),
        ("ddr4-2400r", "rank = 1, bankgroup = 4, bank = 3", 1000, 100, 7, 6),
    ] {
        let device = device(base, count, rows, columns);
        let map = AddressMap::new(&MapSpec::default(), &device, channels).unwrap();
        check(&map, &device, channels);
        let per_channel = u64::from(device.columns) * u64::from(device.banks);
        let i = (u64::from(channels) * per_channel) * 5 + u64::from(channels) * u64::from(device.columns) * 2 + 1;
        assert_eq!(map.place(i), Place { channel: 1 % channels, bank, row: 5, column: u32::from(channels == 1) });
    }
}

/// An XOR counts its bits as if 12 channels were 16.
#[test]
fn xors_beside_division() {
    let device = catalog::load("ddr4-2400r").unwrap();
    let bits = ["channel", "column", "bank", "bankgroup", "row"];
    // Channel in bits 0 to 3, columns in 4 to 10, banks in 11 and 12, groups in 13 and 14, rows from 15 on.
    let with = MapSpec { xor: vec![xor("bank", 0, &[15]), xor("bankgroup", 1, &[16, 17])], ..spec(&bits) };
    let map = AddressMap::new(&with, &device, 12).unwrap();
    check(&map, &device, 12);
    let row = |row: u64| map.place(12 * 128 * 16 * row).bank;
    assert_eq!([row(0), row(1), row(2), row(3), row(4), row(6)], [0, 1, 8, 9, 8, 0]);
    let sixteen = AddressMap::new(&with, &device, 16).unwrap();
    check(&sixteen, &device, 16);
    assert_eq!(sixteen.place(16 * 128 * 16 * 3).bank, 9);
}

#[test]
fn what_is_no_map_says_why() {
    let ddr4 = catalog::load("ddr4-2400r").unwrap();
    let hbm3 = device("hbm3-6400", "pseudochannel = 2, sid = 3, bankgroup = 4, bank = 4", 16384, 32);
    let whole = ["channel", "column", "levels", "row"];
    // Columns in bits 0 to 6, groups in 7 and 8, banks in 9 and 10, rows from 11 on.
    let with = |x: &[XorSpec]| MapSpec { xor: x.to_vec(), ..spec(&whole) };
    let cases: Vec<(&Device, u32, MapSpec, &str, &[&str])> = vec![
        (
            &ddr4,
            1,
            spec(&["channel", "column", "levels", "row", "row"]),
            "map.bits",
            &["`row`", "nothing of `row` is left"],
        ),
        (&ddr4, 1, spec(&["channel", "column", "levels", "bank", "row"]), "map.bits", &["`bank`", "nothing of `bank`"]),
        (
            &ddr4,
            1,
            spec(&["channel", "column", "rank", "bank", "bankgroup", "levels", "row"]),
            "map.bits",
            &["`levels`"],
        ),
        (
            &ddr4,
            1,
            spec(&["channel", "column:7", "column", "levels", "row"]),
            "map.bits",
            &["nothing of `column` is left"],
        ),
        (&ddr4, 1, spec(&["channel", "colum", "levels", "row"]), "map.bits", &["`colum`", "`column`"]),
        (&ddr4, 1, spec(&["channel", "column:0", "column", "levels", "row"]), "map.bits", &["`column:3`"]),
        (&ddr4, 1, spec(&["channel", "column:9", "levels", "row"]), "map.bits", &["9 bits", "it has 7"]),
        (&ddr4, 1, spec(&["channel", "column", "levels"]), "map.bits", &["`row`", "65536"]),
        (&ddr4, 1, spec(&["channel", "column", "levels", "row:3"]), "map.bits", &["leaves 8192 of the 65536 of `row`"]),
        (&ddr4, 12, spec(&["channel:3", "column", "levels", "row"]), "map.bits", &["`channel:2`", "12"]),
        (&hbm3, 1, spec(&["channel", "column", "sid:1", "levels", "row"]), "map.bits", &["`sid`", "there are 3"]),
        (&hbm3, 1, with(&[xor("sid", 0, &[17])]), "map.xor", &["`sid`", "there are 3", "power of two"]),
        (&ddr4, 1, with(&[xor("bank", 0, &[9])]), "map.xor", &["bit 0 of `bank`"]),
        (&ddr4, 1, with(&[xor("bankgroup", 0, &[8]), xor("bankgroup", 1, &[7])]), "map.xor", &["bit 1 of `bankgroup`"]),
        (&ddr4, 1, with(&[xor("bank", 2, &[12])]), "map.xor", &["bit 2 of `bank`", "bits 0 to 1"]),
        (&ddr4, 1, with(&[xor("rank", 0, &[12])]), "map.xor", &["`rank`", "none"]),
        (&ddr4, 1, with(&[xor("bank", 0, &[27])]), "map.xor", &["bit 27", "bits 0 to 26"]),
        (&ddr4, 1, with(&[xor("bnak", 0, &[20])]), "map.xor", &["`bnak`", "`bank`"]),
    ];
    for (device, channels, spec, key, says) in cases {
        let e = AddressMap::new(&spec, device, channels).unwrap_err();
        assert_eq!(e.key.as_deref(), Some(key), "{e}");
        for s in says {
            assert!(e.to_string().contains(s), "{s} in {e}");
        }
    }
    let ok = with(&[xor("bankgroup", 0, &[11]), xor("bankgroup", 1, &[7, 12]), xor("bank", 1, &[9, 13])]);
    check(&AddressMap::new(&ok, &ddr4, 1).unwrap(), &ddr4, 1);
}
