//! Settings on the command line.

use super::{Judge, run};
use crate::common::{EXPERIMENT, Folder};

#[test]
fn settings_that_cannot_be_used() {
    let folder = Folder::new("bad-settings");
    let experiment = folder.write("exp.toml", EXPERIMENT);
    let cases: &[(&str, &[&str])] = &[
        // what is not a setting
        ("machine.memory.channels", &["--set machine.memory.channels: has no `=`", "table.key=value"]),
        ("=8", &["--set =8: has an empty key", "help:"]),
        ("machine..channels=8", &["has an empty key", "help:"]),
        ("machine.base.name=8", &["goes through `machine.base`, which is not a table", "help:"]),
        ("name.x.y=8", &["goes through `name`, which is not a table"]),
        // unknown keys
        ("sed=1", &["--set sed=1: `sed` is not a key", "did you mean `seed`"]),
        ("machine.memory.chanels=8", &["--set", "`machine.memory.chanels` is not a key", "did you mean `channels`"]),
        ("machine.vector_unit.clock_ghz=1.0", &["`machine.vector_unit.clock_ghz`", "did you mean `clock_mhz`"]),
        ("device.organization.pin_gpbs=2", &["`device.organization.pin_gpbs`", "did you mean `pin_gbps`"]),
        ("workload.generation.tokens=1", &["`workload.generation.tokens` is not a key", "generated_tokens"]),
        ("workload.modle=1", &["`workload.modle` is not a key", "did you mean `model`"]),
        ("mapping.lmhead=\"pim\"", &["`mapping.lmhead` is not a key", "did you mean `lm_head`"]),
        // names
        ("machine.base=pim-gtp", &["`machine.base`", "there is no machine named `pim-gtp`", "did you mean `pim-gpt`"]),
        ("machine.memory.device=gddr6-pim-gtp", &["`machine.memory.device`", "did you mean `gddr6-pim-gpt`"]),
        (
            "workload.model=gpt3-xxl",
            &["`workload.model` names no model known here: `gpt3-xxl`", "did you mean `gpt3-xl`"],
        ),
        (
            "mapping.strategy=pimgpt",
            &["`mapping.strategy` names no strategy known here: `pimgpt`", "did you mean `pim-gpt`"],
        ),
        ("mapping.lm_head=gpu", &["`mapping.lm_head` is `gpu`", "pim, host"]),
        ("device.base=gdr6", &["`device.base`", "there is no DRAM device named `gdr6`", "did you mean"]),
        ("machine.kind=gpu", &["`machine.kind` is `gpu`", "help:"]),
        // types
        ("machine.vector_unit.clock_mhz=\"1 GHz\"", &["`machine.vector_unit.clock_mhz` has an invalid type", "1 GHz"]),
        ("machine.memory.channels=8.5", &["`machine.memory.channels` has an invalid type", "8.5"]),
        ("machine.memory.refresh=1", &["`machine.memory.refresh` has an invalid type", "boolean"]),
        ("machine=\"pim-gpt\"", &["`machine` has an invalid type", "pim-gpt"]),
        ("device=3", &["`device` has an invalid type"]),
        ("workload=[]", &["`workload`"]),
        ("workload.generation=7", &["`workload.generation` has an invalid type"]),
        ("workload.model=7", &["`workload.model` must be a model's name"]),
        ("machine.memory=8", &["`machine.memory` has an invalid type"]),
        ("seed=-1", &["`seed` has an invalid value", "-1"]),
        // values
        (
            "machine.memory.channels=0",
            &["--set machine.memory.channels=0: `machine.memory.channels` is 0: must be from 1 to 65536"],
        ),
        ("machine.memory.channels=65537", &["is 65537: must be from 1 to 65536"]),
        ("machine.memory.channels=-8", &["`machine.memory.channels` has an invalid value", "-8"]),
        ("machine.vector_unit.adders=0", &["`machine.vector_unit.adders` is 0: must be from 1"]),
        ("machine.vector_unit.multipliers=0", &["`machine.vector_unit.multipliers` is 0"]),
        ("machine.vector_unit.sram_read_bytes_per_cycle=0", &["is 0: must be from 1"]),
        ("machine.vector_unit.clock_mhz=0", &["`machine.vector_unit.clock_mhz` is 0"]),
        ("machine.vector_unit.clock_mhz=-5.0", &["`machine.vector_unit.clock_mhz` is -5"]),
        ("machine.vector_unit.clock_mhz=nan", &["`machine.vector_unit.clock_mhz` is NaN"]),
        ("machine.vector_unit.clock_mhz=inf", &["`machine.vector_unit.clock_mhz` is inf"]),
        ("machine.vector_unit.active_mw=-1.0", &["`machine.vector_unit.active_mw` is -1"]),
        ("machine.vector_unit.idle_mw=1000.0", &["`machine.vector_unit.idle_mw` is 1000: must be from 0 to 304.59"]),
        ("machine.vector_unit.series.exp_terms=0", &["`machine.vector_unit.series.exp_terms` is 0"]),
        ("machine.link.latency_ns=-1.0", &["`machine.link.latency_ns` is -1"]),
        ("machine.link.latency_ns=nan", &["`machine.link.latency_ns` is NaN"]),
        ("machine.vector_unit.sram_bytes=1024", &["`machine.vector_unit.sram_bytes` is 1024", "bytes", "more SRAM"]),
        ("device.organization.rows=0", &["`device.organization.rows` is 0: must be from 1"]),
        ("device.organization.rows=64", &["GiB more than the", "channels (machine.memory.channels)"]),
        ("device.organization.columns=0", &["`device.organization.columns` is 0"]),
        ("device.organization.access_bytes=0", &["`device.organization.access_bytes` is 0"]),
        ("device.organization.access_bytes=7", &["7-byte columns", "help:"]),
        ("device.organization.pin_gbps=0.0", &["`device.organization.pin_gbps` is 0"]),
        ("device.organization.count.bank=0", &["`device.organization.count.bank` is 0"]),
        ("device.organization.count.bnak=4", &["`device.organization.count.bnak`", "did you mean `bank`"]),
        ("device.organization.standby_level=rank", &["`device.organization.standby_level`", "bankgroup"]),
        ("device.clock_ps=0.0", &["`device.clock_ps` is 0"]),
        ("device.timing_ns.tRP=-12.0", &["`device.timing_ns.tRP` is -12"]),
        ("device.timing_ns.tRP=nan", &["`device.timing_ns.tRP` is NaN"]),
        ("device.timing_ns.nRP=12.0", &["`device.timing_ns.nRP` must begin with `t`", "timing_cycles"]),
        ("device.timing_cycles.tRP=12", &["`device.timing_cycles.tRP` must begin with `n`", "timing_ns"]),
        ("device.timing_ns.tREFI=1.0", &["refresh.interval", "is 1 cycles", "tREFI"]),
        (
            "device.timing_expressions.nRC=\"nRAS + \"",
            &["`device.timing_expressions.nRC`", "ends where a value should stand"],
        ),
        ("device.timing_expressions.nRC=\"nRAS + nXX\"", &["`device.timing_expressions.nRC`", "uses `nXX`"]),
        ("device.timing_expressions.nRC=\"nRC + 1\"", &["`device.timing_expressions.nRC`", "uses `nRC`"]),
        ("device.timing_expressions.nRC=\"nRAS / 0\"", &["not a finite number"]),
        ("device.timing_expressions.nRC=\"nRAS / 7\"", &["not a whole number", "ceil()"]),
        ("device.currents_ma.IDD0=-5.0", &["`device.currents_ma.IDD0` is -5"]),
        ("device.currents_ma.IDD4R=0.0", &["energy.command", "is -"]),
        ("device.parameters.mac_units_mw=-1.0", &["energy.command", "is -"]),
        ("device.parameters.global_buffer_bytes=0", &["global buffer of 0 bytes"]),
        ("device.energy.vdd_v=0.0", &["`device.energy.vdd_v` is 0"]),
        ("workload.generation.prompt_tokens=0", &["`workload.generation.prompt_tokens` is 0: must be from 1"]),
        ("workload.generation.generated_tokens=0", &["`workload.generation.generated_tokens` is 0"]),
        ("workload.generation.generated_tokens=-3", &["`workload.generation.generated_tokens` is -3"]),
        ("workload.generation.generated_tokens=1000000000000000000", &["is 1000000000000000000: must be from 1 to"]),
        ("workload.generation.generated_tokens=1025", &["`gpt2-small` has 1024 positions", "use at most 1024"]),
        ("workload.generation.generated_tokens=99999999999999999999", &["`workload.generation.generated_tokens`"]),
        ("workload.generation.generated_tokens=2.0", &["`workload.generation.generated_tokens` has an invalid type"]),
        ("workload.generation.batch=2", &["`workload.generation.batch` is 2", "set batch = 1"]),
        ("workload.model=llama2-7b", &["GiB more than the 4.00 GiB of 8 channels", "use about"]),
    ];
    let mut judge = Judge::new();
    for (setting, fragments) in cases {
        judge.refuses((setting, fragments), &run(&experiment, &[setting]));
    }
    judge.finish(75);
}

/// A setting moves no line: an error elsewhere in the file still names the line that its author sees.
#[test]
fn settings_do_not_move_the_lines_of_other_errors() {
    let folder = Folder::new("bad-lines");
    let broken = folder.write("exp.toml", EXPERIMENT.replace("generated_tokens = 2", "generated_tokens = 0"));
    let mut judge = Judge::new();
    let fragments: &[&str] = &["exp.toml:11: `workload.generation.generated_tokens` is 0: must be from 1"];
    judge.refuses(("alone", fragments), &run(&broken, &[]));
    judge.refuses(("with settings", fragments), &run(&broken, &["seed=4", "machine.memory.channels=4"]));
    judge.finish(2);
}
