//! Which instructions are whose, and whether each waits for what it uses.

use std::collections::HashMap;

use banksia_hw::program::{Program, Work};

use super::claims::Group;
use super::order::Order;
use super::wrong::Wrong;

/// The group of each instruction.
///
/// # Errors
/// An operator has no instruction, or one comes where it must not.
pub(super) fn assign(program: &Program, groups: &[Group]) -> Result<Vec<usize>, Wrong> {
    let (mut current, mut taken) = (0, 0);
    let mut met = vec![false; groups.len()];
    let mut of = Vec::with_capacity(program.instructions.len());
    for (i, instruction) in program.instructions.iter().enumerate() {
        let label = &program.operators[instruction.operator as usize].name;
        let has = |g: &Group| {
            let is = g.any_on == Some(instruction.on) || g.labels.iter().any(|l| l == label);
            is && g.instructions != Some(0)
        };
        let is_full = |g: &Group| g.instructions.is_some_and(|n| taken >= n);
        if !groups.get(current).is_some_and(|g| has(g) && !is_full(g)) {
            let next = groups.iter().skip(current + 1).position(has).map(|n| current + 1 + n);
            let Some(next) = next else {
                let after = groups.get(current).map_or("the beginning".to_owned(), |g| g.name.clone());
                return Err(match groups.iter().enumerate().find(|(n, g)| g.required && !met[*n] && *n > current) {
                    Some((_, missing)) if !groups.iter().any(has) => {
                        let place = format!(" (instruction {i} is for `{label}`)");
                        Wrong::NotRun { operator: missing.name.clone(), place }
                    }
                    _ => Wrong::Unexpected { instruction: i, operator: label.clone(), after },
                });
            };
            complete(groups, &met, current, taken)?;
            missing(groups, &met, current..next)?;
            (current, taken) = (next, 0);
        }
        met[current] = true;
        taken += 1;
        of.push(current);
    }
    complete(groups, &met, current, taken)?;
    missing(groups, &met, current..groups.len())?;
    Ok(of)
}

/// A group that is left has as many instructions as it must.
fn complete(groups: &[Group], met: &[bool], current: usize, done: u64) -> Result<(), Wrong> {
    match groups.get(current).filter(|_| met[current]) {
        Some(group) if group.instructions.is_some_and(|right| right != done) => {
            let (operator, right) = (group.name.clone(), group.instructions.unwrap_or(0));
            let tensor = group.labels.first().cloned().unwrap_or_default();
            Err(Wrong::Amount { operator, tensor, what: "instructions".to_owned(), done, right })
        }
        _ => Ok(()),
    }
}

fn missing(groups: &[Group], met: &[bool], range: std::ops::Range<usize>) -> Result<(), Wrong> {
    match range.clone().find(|n| groups[*n].required && !met[*n]) {
        None => Ok(()),
        Some(n) => {
            let before = groups[..n].iter().rev().find(|g| g.required).map(|g| format!(", after `{}`", g.name));
            Err(Wrong::NotRun { operator: groups[n].name.clone(), place: before.unwrap_or_default() })
        }
    }
}

/// Instructions that do nothing but read the banks, and nothing but write them.
#[derive(Debug)]
pub(super) struct Only {
    pub reads: Vec<bool>,
    pub writes: Vec<bool>,
}

/// Every instruction comes after all that completes what its operator uses. What is only read from the banks needs no one; what is only written to
/// them is for the next step, and completes no value.
///
/// # Errors
/// One does not wait.
pub(super) fn presence(
    program: &Program,
    groups: &[Group],
    of: &[usize],
    only: &Only,
    order: &mut Order<'_>,
) -> Result<u64, Wrong> {
    let mut exits: Vec<Vec<usize>> = vec![Vec::new(); groups.len()];
    let mut followed = vec![false; program.instructions.len()];
    for i in 0..program.instructions.len() {
        for before in order.before(i) {
            if of[before] == of[i] && !only.writes[i] {
                followed[before] = true;
            }
        }
    }
    for (i, group) in of.iter().enumerate() {
        if !followed[i] && !only.writes[i] {
            exits[*group].push(i);
        }
    }
    // Values of operators without instructions are those of what they are made of.
    for g in 0..groups.len() {
        if exits[g].is_empty() {
            let through: Vec<usize> = groups[g].after.iter().flat_map(|a| exits[*a].clone()).collect();
            exits[g] = through;
        }
    }
    let mut waits = vec![false; program.instructions.len()];
    let mut checked = 0;
    for i in 0..program.instructions.len() {
        let group = of[i];
        if only.reads[i] {
            continue;
        }
        let behind = order.before(i).any(|b| of[b] == group && waits[b]);
        if !behind {
            for after in &groups[group].after {
                if let Some(needs) = order.not_after(i, &exits[*after]) {
                    return Err(Wrong::NotThere {
                        operator: groups[group].name.clone(),
                        instruction: i,
                        producer: groups[of[needs]].name.clone(),
                        needs,
                    });
                }
                checked += exits[*after].len() as u64;
            }
        }
        waits[i] = true;
    }
    Ok(checked)
}

/// Sums that the vector unit adds for each operator: no fewer than it must.
///
/// # Errors
/// Parts of sums, or biases, are left out.
pub(super) fn additions(program: &Program, groups: &[Group], of: &[usize]) -> Result<(), Wrong> {
    let mut adds: HashMap<(usize, u32), u64> = HashMap::new();
    for (instruction, group) in program.instructions.iter().zip(of) {
        if let Work::Vector { function } = instruction.work {
            let phases = &program.functions[function as usize].phases;
            let sum = adds.entry((*group, instruction.operator)).or_insert(0);
            *sum = phases.iter().fold(*sum, |sum, p| sum.saturating_add(p.adds));
        }
    }
    for (g, group) in groups.iter().enumerate() {
        for (label, right) in &group.adds {
            let of_label = |i: usize| program.operators.get(i).is_some_and(|o| o.name == *label);
            let own = adds.iter().filter(|((at, operator), _)| *at == g && of_label(*operator as usize));
            let done = own.map(|(_, n)| *n).fold(0, u64::saturating_add);
            if done < *right {
                let what = "sums of parts of the vector, and biases, that the vector unit adds".to_owned();
                let (operator, tensor, right) = (label.clone(), group.name.clone(), *right);
                return Err(Wrong::Amount { operator, tensor, what, done, right });
            }
        }
    }
    Ok(())
}
