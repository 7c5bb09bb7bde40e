//! What goes from L2, and in which order.

use super::*;

/// 512 blocks of 128 bytes.
fn empty() -> Tags {
    let mut tags = Tags::default();
    tags.reset(4096, 64 * 1024, 128, 3);
    tags
}

fn take(tags: &mut Tags, block: u64, gone: &mut Vec<u32>) {
    tags.tick();
    let set = tags.set(block);
    if !tags.hit(block, set) {
        tags.take(Wanted { block, set, size: 128, bytes: 128, dirty: true }, &Draws::new(1), |v| {
            gone.push(v.block);
        });
    }
}

/// Which block goes follows from the order of use alone, however moments are counted.
#[test]
fn counting_moments_anew_changes_nothing() {
    let (mut plain, mut late) = (empty(), empty());
    let mut gone = (Vec::new(), Vec::new());
    let mut bits = super::super::super::units::Bits::new(3);
    for i in 0..20_000 {
        if i % 3000 == 2999 {
            late.now = LAST - MOMENT;
        }
        let block = (bits.next() >> 40) % 1500;
        take(&mut plain, block, &mut gone.0);
        take(&mut late, block, &mut gone.1);
    }
    assert!(gone.0.len() > 1000, "only {} blocks had to go", gone.0.len());
    assert!(gone.0 == gone.1, "other blocks had to go");
    assert!(late.now < LAST / 2, "moments were not counted anew");
}

/// Which blocks go, and when, does not depend on how many neighbours one moment is kept for.
#[test]
fn units_are_exact() {
    let run = |shift: u32| {
        let mut tags = Tags::default();
        tags.reset(4096, 64 * 1024, 128, shift);
        let mut bits = super::super::super::units::Bits::new(5);
        let (mut gone, mut absent) = (Vec::new(), Vec::new());
        for _ in 0..4000 {
            tags.tick();
            // Whole pieces of sixteen, parts of them, and runs across their edges.
            let piece = (bits.next() >> 40) % 70 * 16;
            let (first, count) = match (bits.next() >> 40) % 4 {
                0 => (piece + 3, 9),
                1 => (piece + 60, 70),
                _ => (piece, 16),
            };
            absent.clear();
            tags.hit_all(first, count, &mut absent);
            tags.find_sets(first, &mut absent);
            for &Absent { i, set } in &absent {
                let wanted = Wanted {
                    block: first + u64::from(i),
                    set: set as usize,
                    size: 128,
                    bytes: if i % 5 == 0 { 96 } else { 128 },
                    dirty: i % 3 == 0,
                };
                let taken = tags.take(wanted, &Draws::new(1), |v| gone.push((v.block, v.dirty)));
                gone.push((wanted.block as u32, taken as u32));
            }
        }
        gone
    };
    let single = run(0);
    assert!(single.len() > 10_000, "only {} blocks came and went", single.len());
    for shift in [2, 4, 6] {
        assert!(run(shift) == single, "units of {} blocks", 1 << shift);
    }
}

/// Foreign blocks go first, and blocks that were there before them stay.
#[test]
fn foreign_blocks_are_the_oldest() {
    let mut tags = empty();
    let mut draws = Draws::new(1);
    let mut gone = Vec::new();
    // More blocks than any set holds: some sets overflow, others have room.
    (0..300).for_each(|block| take(&mut tags, block, &mut gone));
    let held: Vec<u64> = (0..300).filter(|&b| tags.is_here(b)).collect();
    assert!(held.len() > 100 && held.len() < 512);
    tags.fill_foreign(1 << 16, &mut draws, 0);
    let set = (0..tags.count).find(|&s| tags.ways[s].block.contains(&tags.foreign));
    assert!(set.is_some(), "no set has a foreign block");
    gone.clear();
    let set = set.unwrap_or(0);
    let newcomer = (300..4096).find(|&b| tags.set(b) == set).unwrap_or(0);
    take(&mut tags, newcomer, &mut gone);
    assert_eq!(gone, [FOREIGN]);
    assert!(held.iter().all(|&b| tags.is_here(b)), "a block of the kernel went first");
}
