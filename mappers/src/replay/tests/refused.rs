//! Programs and layouts that have been spoilt are refused by name.

use banksia_hw::program::{Block, PimInstruction, Program, Work};

use super::{Case, model, small};
use crate::replay::{Place, Wrong};

fn aim() -> Case {
    let case = Case::new(&model(4, 2, 32, 96, 136), 30, 1, "aim", &small("aim", 4)).unwrap();
    case.passes();
    case
}

/// Instructions of a block.
fn list(block: &mut Block) -> &mut Vec<PimInstruction> {
    match block {
        Block::Instructions(list) => list,
        Block::Accesses(_) => panic!("accesses"),
    }
}

#[test]
fn a_swapped_row_is_refused() {
    let mut case = aim();
    let down = case.first("ffn down projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(down, |b| {
        let list = list(b);
        let multiplies: Vec<usize> = (0..list.len()).filter(|i| list[*i].name == "MAC_ABK").collect();
        let (first, second) = (multiplies[0], multiplies[1]);
        let row = list[first].row;
        list[first].row = list[second].row;
        list[second].row = row;
        list[second].row += 1000;
    });
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Address { operator, .. } if operator == "ffn down projection"), "{wrong}");
}

#[test]
fn a_dropped_and_a_doubled_tile_are_refused() {
    for doubled in [false, true] {
        let mut case = aim();
        let down = case.first("ffn down projection", |_, w| matches!(w, Work::Block { .. }));
        case.block(down, |b| {
            let list = list(b);
            let at = list.iter().position(|i| i.name == "WR_BIAS").unwrap();
            let tile: Vec<_> = list[at..at + 3].to_vec();
            if doubled {
                list.extend(tile);
            } else {
                list.drain(at..at + 3);
            }
        });
        let wrong = case.refused();
        assert!(matches!(&wrong, Wrong::Times { operator, .. } if operator == "ffn down projection"), "{wrong}");
    }
}

#[test]
fn a_vector_that_is_not_loaded_anew_is_refused() {
    let mut case = aim();
    let up = case.first("ffn up projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(up, |b| list(b).retain(|i| i.name != "WR_GB"));
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Buffer { operator, .. } if operator == "ffn up projection"), "{wrong}");
}

#[test]
fn an_overfull_buffer_is_refused() {
    let mut case = aim();
    let up = case.first("ffn up projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(up, |b| list(b).iter_mut().filter(|i| i.name == "WR_GB").for_each(|i| i.columns = 65));
    let wrong = case.refused();
    assert!(
        matches!(&wrong, Wrong::Capacity { level, needs: 65, capacity: 64, .. } if level.contains("buffer")),
        "{wrong}"
    );
}

#[test]
fn sums_that_are_not_read_are_refused() {
    let mut case = aim();
    let up = case.first("ffn up projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(up, |b| {
        let at = list(b).iter().rposition(|i| i.name == "RD_MAC").unwrap();
        list(b).remove(at);
    });
    assert!(matches!(case.refused(), Wrong::Sums { .. }));
}

#[test]
fn a_key_in_another_place_is_refused() {
    let moves: [fn(&mut PimInstruction); 3] = [|i| i.bank ^= 1, |i| i.column += 2, |i| i.row += 1];
    for move_it in moves {
        let mut case = aim();
        let append = case.first("kv append", |_, _| true);
        case.block(append, |b| list(b).iter_mut().for_each(move_it));
        let wrong = case.refused();
        assert!(
            matches!(&wrong, Wrong::Address { operator, does: "writes", .. } if operator == "kv append"),
            "{wrong}"
        );
    }
}

#[test]
fn keys_that_nothing_has_written_are_refused() {
    let mut case = aim();
    case.drop_instruction(case.first("kv append", |_, _| true));
    let wrong = case.refused();
    assert!(
        matches!(&wrong, Wrong::Address { operator, holds, .. } if operator == "attention scores" && holds.contains("nothing has written")),
        "{wrong}"
    );
}

#[test]
fn a_dropped_operator_is_named() {
    let mut case = aim();
    case.drop_instruction(case.first("ffn down projection", |_, w| matches!(w, Work::Block { .. })));
    // The bias alone is left.
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Times { operator, .. } if operator == "ffn down projection"), "{wrong}");
    let mut case = aim();
    let label = case.program.operators.iter().position(|o| o.name.contains("norm")).unwrap();
    let name = case.program.operators[label].name.clone();
    case.drop_instruction(case.first(&name, |_, _| true));
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::NotRun { operator, .. } if operator.starts_with("layer0")), "{wrong}");
}

/// Whoever forgets whom it waits for is refused, but for what need wait for no one: the first, and reads of what lies in the banks.
#[test]
fn forgotten_dependencies_are_refused() {
    for base in ["aim", "attacc", "hbm-pim", "pim-gpt"] {
        let make = || Case::new(&model(4, 2, 32, 96, 136), 30, 1, base, &small(base, 4)).unwrap();
        let whole = make();
        let (mut refused, mut all) = (0, 0);
        for i in 0..whole.program.instructions.len() {
            let vector = matches!(whole.program.instructions[i].work, Work::Vector { .. });
            if !vector || whole.program.instructions[i].dependencies == 0 {
                continue;
            }
            let mut case = make();
            case.forget_dependencies(i);
            all += 1;
            match case.check() {
                Ok(_) => panic!("{base}: instruction {i} ({}) waits for nobody, and passes", whole.operator(i)),
                Err(Wrong::NotThere { .. }) => refused += 1,
                Err(other) => panic!("{base}: {other}"),
            }
        }
        assert!(refused == all && all > 10, "{base}: {refused} of {all}");
    }
}

#[test]
fn layouts_that_overlap_or_outgrow_the_banks_are_refused() {
    let mut case = aim();
    let second = case.claims.banks[0].regions.iter().position(|r| r.first_row > 0).unwrap();
    case.claims.banks[0].regions[second].first_row -= 1;
    assert!(matches!(case.refused(), Wrong::Overlap { .. }));
    let mut case = aim();
    case.claims.banks[0].regions[second].first_row += 1 << 20;
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Capacity { level, .. } if level.contains("rows")), "{wrong}");
}

/// A layout that stores an element nowhere is found by putting numbers through it.
#[test]
fn a_layout_that_loses_elements_is_refused() {
    let mut case = aim();
    let region = case.claims.banks[0].regions.iter_mut().find(|r| r.operator == "ffn down projection").unwrap();
    let Place::Rows { inputs, .. } = &mut region.place else { panic!("rows") };
    *inputs += 5000;
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Stored { times: 0, .. }), "{wrong}");
}

/// PIM-GPT: a walk in another row, a walk left out, one too many, a broadcast too wide.
#[test]
fn spoilt_patterns_are_refused() {
    let make = || Case::new(&model(4, 2, 32, 96, 136), 30, 1, "pim-gpt", &small("pim-gpt", 4)).unwrap();
    let multiplies = |p: &Program, w: Work| match w {
        Work::Pim { pattern, .. } => p.patterns[pattern as usize].steps.iter().any(|s| s.command == "MAC16"),
        _ => false,
    };
    let mut case = make();
    case.passes();
    let at = case.first("ffn down projection", multiplies);
    if let Work::Pim { row, .. } = &mut case.program.instructions[at].work {
        *row += 1;
    }
    let wrong = case.refused();
    let named = |w: &Wrong| w.to_string().contains("ffn down");
    assert!(named(&wrong), "{wrong}");
    let mut case = make();
    case.drop_instruction(at);
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Times { .. }) && named(&wrong), "{wrong}");
    let mut case = make();
    let Work::Pim { pattern, .. } = case.program.instructions[at].work else { panic!("no pattern") };
    let mut twice = case.program.patterns[pattern as usize].clone();
    twice.steps.extend(twice.steps.clone());
    case.program.patterns.push(twice);
    let last = case.program.patterns.len() as u32 - 1;
    if let Work::Pim { pattern, .. } = &mut case.program.instructions[at].work {
        *pattern = last;
    }
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Times { .. }) && named(&wrong), "{wrong}");
    let mut case = make();
    let load = case.first("ffn down projection", |p, w| !multiplies(p, w));
    let Work::Pim { pattern, .. } = case.program.instructions[load].work else { panic!("no pattern") };
    let mut wide = case.program.patterns[pattern as usize].clone();
    wide.steps[0].count = 65;
    case.program.patterns.push(wide);
    if let Work::Pim { pattern, .. } = &mut case.program.instructions[load].work {
        *pattern = last;
    }
    assert!(matches!(case.refused(), Wrong::Capacity { needs: 65, .. }));
}

/// HBM-PIM: a column of another tile, results that the host does not fetch.
#[test]
fn spoilt_accesses_are_refused() {
    let make = || Case::new(&model(4, 2, 32, 96, 136), 30, 1, "hbm-pim", &small("hbm-pim", 4)).unwrap();
    let mut case = make();
    case.passes();
    let down = case.first("ffn down projection", |_, w| matches!(w, Work::Block { .. }));
    case.block(down, |b| {
        let Block::Accesses(list) = b else { panic!("accesses") };
        let at = list.iter().position(|a| !a.write && a.row < 1000).unwrap();
        list[at].column = (list[at].column + 8) % 32;
    });
    let wrong = case.refused();
    assert!(wrong.to_string().contains("ffn down"), "{wrong}");
    let mut case = make();
    case.drop_instruction(case.first("read results", |_, _| true));
    let wrong = case.refused();
    assert!(matches!(wrong, Wrong::Sums { .. }), "{wrong}");
}

/// A kernel that reads what nobody wrote.
#[test]
fn a_kernel_without_its_tensor_is_refused() {
    let mut case = Case::new(&model(4, 2, 32, 128, 256), 40, 2, "h200", "").unwrap();
    case.passes();
    case.drop_instruction(case.first("ffn up projection", |_, _| true));
    let wrong = case.refused();
    assert!(matches!(&wrong, Wrong::Strange { problem, .. } if problem.contains("nothing has written")), "{wrong}");
}

/// One sequence's values must fit the vector unit's memory; a batch goes in waves that do.
#[test]
fn values_that_the_vector_unit_cannot_hold_are_refused() {
    let of = |bytes: u32, batch| {
        let keys = format!("memory.channels = 4\nvector_unit.sram_bytes = {bytes}\n");
        Case::new(&model(4, 2, 32, 96, 136), 30, batch, "aim", &keys)
    };
    of(2048, 1).unwrap().passes();
    // A batch goes in waves.
    of(2048, 8).unwrap().passes();
    let wrong = of(256, 1).err().unwrap();
    assert!(wrong.to_string().contains("vector_unit.sram_bytes"), "{wrong}");
}
