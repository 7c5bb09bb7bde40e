//! The GPUs that rows run on.

use std::collections::BTreeMap;

use banksia_hw::gpu::Gpu;

/// Machines, made when first asked for.
#[derive(Default)]
pub(crate) struct Devices(BTreeMap<String, Gpu>);

impl Devices {
    pub(crate) fn get(&mut self, name: &str) -> Result<&mut Gpu, String> {
        if !self.0.contains_key(name) {
            let spec = banksia_hw::gpu::device(name).map_err(|_| format!("{name} is not in the catalog"))?;
            self.0.insert(name.to_owned(), Gpu::new(spec));
        }
        self.0.get_mut(name).ok_or_else(|| format!("{name} is not in the catalog"))
    }
}
