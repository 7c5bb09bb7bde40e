//! The witness over the whole catalog, and each of its laws broken on purpose.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use banksia_hw::dram::controller::{
    Controller, ControllerConfig, ControllerOptions, PagePolicy, RefreshPolicy, Request, Scheduler, Sleep,
};
use banksia_hw::dram::witness::Witness;
use banksia_hw::dram::{Device, catalog};

fn words(config: &ControllerConfig) -> String {
    format!("{:?} {:?} postpone {} {:?}", config.page, config.refresh, config.postpone, config.sleep)
}

/// Every device of the catalog, under every policy that it takes.
#[test]
fn the_catalog_obeys_physics() {
    let mut wrong: BTreeMap<String, u64> = BTreeMap::new();
    for name in catalog::names() {
        let device = catalog::load(name).unwrap();
        assert_eq!(Witness::new(&device).unjudged(), &[] as &[String], "{name}");
        let requests = traffic(&device, 600, 7);
        for config in policies(&device) {
            let witness = watch(&device, &config, &requests);
            for breach in witness.kept().iter().take(1) {
                *wrong.entry(format!("{name}: {}: {:?} {breach}", words(&config), breach.law)).or_default() += witness.breaches();
            }
        }
    }
    let lines: Vec<String> = wrong.iter().map(|(line, n)| format!("{n:6} {line}")).collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), lines.join("\n"));
}
