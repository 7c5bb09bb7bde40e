//! The matrix-vector product of a device's own instructions, as its `[isa]` table names it.

use crate::dram::Device;
use crate::dram::table::RawIsa;

/// How a device's instructions make a matrix-vector product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IsaGemv {
    /// Elements of a row of one bank.
    pub(super) row_elements: u32,
    /// Elements of a column access.
    pub(super) column_elements: u32,
    /// Vectors at once.
    pub(super) vectors: u32,
    /// The instructions: load, bias, multiply, read.
    pub(super) kinds: [usize; 4],
}

impl IsaGemv {
    /// That of an `[isa]` table, whose instructions have places; `None` where it has no `gemv`. An error is a key and what is wrong with it.
    pub(super) fn compile(
        isa: &RawIsa,
        device: &Device,
        place_of: impl Fn(&str) -> Option<usize>,
    ) -> Result<Option<Self>, (String, String)> {
        let Some(gemv) = &isa.gemv else { return Ok(None) };
        let missing = |key: &str| (format!("isa.{key}"), "is missing, here and in the base".to_owned());
        let row_elements = isa.row_elements.ok_or_else(|| missing("row_elements"))?;
        let column_elements = isa.column_elements.ok_or_else(|| missing("column_elements"))?;
        if column_elements == 0 {
            return Err(("isa.column_elements".into(), "is 0: must be at least 1".into()));
        }
        let columns = row_elements / column_elements;
        if columns == 0 || columns > device.columns || !row_elements.is_multiple_of(column_elements) {
            let most = u64::from(device.columns) * u64::from(column_elements);
            let problem = format!(
                "is {row_elements}: must be whole columns of {column_elements} elements, from {column_elements} to {most}"
            );
            return Err(("isa.row_elements".into(), problem));
        }
        let parts = [
            ("gemv.load", &gemv.load),
            ("gemv.bias", &gemv.bias),
            ("gemv.multiply", &gemv.multiply),
            ("gemv.read", &gemv.read),
        ];
        let mut kinds = [0; 4];
        for (slot, (key, name)) in kinds.iter_mut().zip(parts) {
            let name = name.as_ref().ok_or_else(|| missing(key))?;
            *slot = place_of(name)
                .ok_or_else(|| (format!("isa.{key}"), format!("names `{name}`, which is no instruction")))?;
        }
        let vectors = isa.vectors.unwrap_or(1);
        if !(1..=1024).contains(&vectors) {
            return Err(("isa.vectors".into(), format!("is {vectors}: must be from 1 to 1024")));
        }
        Ok(Some(Self { row_elements, column_elements, vectors, kinds }))
    }
}
