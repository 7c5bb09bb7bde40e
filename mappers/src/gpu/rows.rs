//! Kernels that run over rows or elements: elementwise, norms, softmax, reductions, gathers, copies.

use banksia_hw::gpu::program::{Barrier, Expr, Kernel, Op, Path, Tensor, Tile, Trips, VectorWork, WORK_VARS};

use super::{PLAIN_REGISTERS, copy, lanes, one_role, reduction};

/// Lane operations per element of an elementwise kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ElementWork {
    /// FMA lanes.
    pub fma: f64,
    /// Integer and logic lanes.
    pub alu: f64,
    /// Special functions.
    pub sfu: f64,
    /// Other instructions.
    pub other: f64,
    /// Cycles that a warp waits after an instruction for fixed latencies, on average.
    pub stall: f64,
}

impl ElementWork {
    /// The work of so many elements.
    pub fn of(&self, elements: f64) -> VectorWork {
        VectorWork { stall: self.stall, ..lanes(elements, self.fma, self.alu, self.sfu, self.other) }
    }
}

/// An elementwise kernel over streams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Elementwise {
    /// Elements of each stream.
    pub elements: u64,
    /// Streams read.
    pub inputs: u32,
    /// Bytes of an element.
    pub element_bytes: u32,
    /// Elements of a CTA.
    pub per_cta: u32,
    /// Threads of a CTA.
    pub threads: u32,
    /// Work of an element.
    pub work: ElementWork,
}

fn numbered(n: u64) -> Vec<[i32; WORK_VARS]> {
    (0..n).map(|i| [i as i32, 0, 0, 0, 0, 0]).collect()
}

/// Reads its streams, works, writes one.
pub fn elementwise(e: &Elementwise) -> Kernel {
    let bytes = e.per_cta * e.element_bytes;
    let total = e.elements * u64::from(e.element_bytes);
    let tile = |tensor: u32| Tile {
        tensor: tensor as u8,
        row: Expr::default(),
        byte: Expr::work(0, i64::from(bytes)),
        rows: 1,
        bytes,
    };
    let n = f64::from(e.per_cta);
    let mut ops: Vec<Op> = (0..e.inputs).map(|i| copy(tile(i), Path::Load, 0)).collect();
    ops.extend([Op::Wait(0), Op::Vector(e.work.of(n)), Op::Store { tile: tile(e.inputs), reduce: false }]);
    let stream = Tensor { rows: 1, row_bytes: total, piece_bytes: bytes.next_power_of_two(), piece_rows: 1 };
    Kernel {
        name: format!("elementwise of {}", e.elements),
        threads: e.threads,
        registers: PLAIN_REGISTERS,
        shared_bytes: 0,
        cluster: 1,
        grid: e.elements.div_ceil(u64::from(e.per_cta)).max(1) as u32,
        items: numbered(e.elements.div_ceil(u64::from(e.per_cta)).max(1)),
        tensors: vec![stream; e.inputs as usize + 1],
        barriers: vec![Barrier { arrivals: e.inputs.max(1), credits: u32::from(e.inputs == 0) }],
        roles: one_role(e.threads / 32, ops),
        pipelined: false,
    }
}

/// Takes the integer instructions of a kernel's vector work apart from the others: they come in bursts, in which warps that
/// compute at the same time queue for the integer lanes, and find them idle together afterwards.
pub fn in_bursts(mut kernel: Kernel) -> Kernel {
    for role in &mut kernel.roles {
        role.ops = role
            .ops
            .iter()
            .flat_map(|op| match *op {
                Op::Vector(v) if v.alu > 0.0 => {
                    let integer = VectorWork { issue: v.alu / 32.0, fma: 0.0, sfu: 0.0, shared_bytes: 0.0, ..v };
                    let rest = VectorWork { issue: (v.issue - v.alu / 32.0).max(0.0), alu: 0.0, ..v };
                    vec![Op::Vector(integer), Op::Vector(rest)]
                }
                other => vec![other],
            })
            .collect();
    }
    kernel
}

/// A kernel in which a CTA works on whole rows: it reads them once or more, reduces, and writes them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowKernel {
    /// Rows.
    pub rows: u32,
    /// Elements of a row.
    pub columns: u32,
    /// Elements that the program works on: the columns, or more where it pads them.
    pub padded: u32,
    /// Bytes of an element.
    pub element_bytes: u32,
    /// Rows of a CTA, side by side.
    pub rows_per_cta: u32,
    /// Threads of a CTA.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Elements of a row that the CTA reads before it works on them: one turn of its loop.
    pub chunk: u32,
    /// Passes over the row; each but the last ends in a reduction. The row is read again in every pass, unless `keeps`.
    pub passes: u32,
    /// The row stays in registers or shared memory after the first pass.
    pub keeps: bool,
    /// Weight vectors of a row's length, read in the last pass.
    pub weights: u32,
    /// The reduction crosses warps (rather than lanes only).
    pub across_warps: bool,
    /// Warp instructions of a row beside those of its elements: reductions, set-up.
    pub row_issue: f64,
    /// Cycles of the chain of dependent operations in a turn of a reducing pass.
    pub turn_latency_cycles: f64,
    /// Work of an element in a reducing pass.
    pub reduce_work: ElementWork,
    /// Work of an element in the last pass.
    pub last_work: ElementWork,
}

/// Norms and softmax.
pub fn row_kernel(r: &RowKernel) -> Kernel {
    let row_bytes = r.columns * r.element_bytes;
    let chunk = r.chunk.clamp(1, r.columns.max(1));
    let turns = r.columns.div_ceil(chunk).max(1);
    let chunk_bytes = chunk * r.element_bytes;
    let n = f64::from(r.padded.max(r.columns)) / f64::from(turns) * f64::from(r.rows_per_cta);
    let x = Tile {
        tensor: 0,
        row: Expr::work(0, i64::from(r.rows_per_cta)),
        byte: Expr::default().plus_loop(0, i64::from(chunk_bytes)),
        rows: r.rows_per_cta,
        bytes: chunk_bytes,
    };
    // The output comes last.
    let y = Tile { tensor: 1 + r.weights as u8, ..x };
    let weight = |i: u32| Tile { tensor: 1 + i as u8, row: Expr::default(), rows: 1, ..x };
    let path = if r.keeps { Path::Load } else { Path::LoadL1 };
    let work = |w: &ElementWork| w.of(n);
    let warps = r.threads / 32;
    let lane_reduction =
        VectorWork { issue: f64::from(warps) * 5.0, latency_cycles: 5.0 * 24.0, ..VectorWork::default() };
    let mut ops = Vec::new();
    if r.row_issue > 0.0 {
        let issue = r.row_issue * f64::from(r.rows_per_cta);
        // A quarter of it is integer and logic, half is on the FMA lanes (device_profiles.csv: 0.25 to 0.27, 0.39 to 0.46).
        ops.push(Op::Vector(VectorWork { issue, alu: issue * 8.0, fma: issue * 14.0, ..VectorWork::default() }));
    }
    for pass in 0..r.passes {
        let last = pass + 1 == r.passes;
        let load = pass == 0 || !r.keeps;
        ops.push(Op::Loop(Trips::Const(turns)));
        // A turn's loads are all under way before the first is waited for.
        let weights = if last { r.weights } else { 0 };
        ops.extend(load.then(|| copy(x, path, 0)));
        ops.extend((0..weights).map(|i| copy(weight(i), Path::LoadL1, 1)));
        ops.extend(load.then_some(Op::Wait(0)));
        ops.extend((weights > 0).then_some(Op::Wait(1)));
        if last {
            ops.extend([Op::Vector(work(&r.last_work)), Op::Store { tile: y, reduce: false }, Op::End]);
        } else {
            let turn = VectorWork { latency_cycles: r.turn_latency_cycles, ..work(&r.reduce_work) };
            ops.extend([Op::Vector(turn), Op::End]);
            if r.across_warps {
                ops.extend([Op::Vector(reduction(warps)), Op::Sync, Op::Sync]);
            } else {
                ops.push(Op::Vector(lane_reduction));
            }
        }
    }
    let piece = chunk_bytes.clamp(32, 1 << 16);
    let matrix = Tensor::matrix(u64::from(r.rows), u64::from(row_bytes), r.rows_per_cta, piece);
    let mut tensors = vec![matrix];
    tensors.extend((0..r.weights).map(|_| Tensor::matrix(1, u64::from(row_bytes), 1, piece)));
    tensors.push(matrix);
    let ctas = r.rows.div_ceil(r.rows_per_cta).max(1);
    Kernel {
        name: format!("rows {}x{}", r.rows, r.columns),
        threads: r.threads,
        registers: r.registers,
        shared_bytes: if r.across_warps { 1024 } else { 0 },
        cluster: 1,
        grid: ctas,
        items: numbered(u64::from(ctas)),
        tensors,
        barriers: vec![Barrier { arrivals: 1, credits: 0 }, Barrier { arrivals: r.weights.max(1), credits: 0 }],
        roles: one_role(warps, ops),
        pipelined: false,
    }
}

/// A copy by the chip's copy engines: they take no instructions, and are bound by the bytes that they have under way.
///
/// Nineteen pieces of 64 KB under way give the 2.71 TB/s, read and written, of `copy_node` in `device_issue.csv` at 512 MiB and
/// 1 to 4 GiB (`gpu_laws` holds them to it); 768 MiB ran at 4.26 there, as smaller copies do.
pub fn engine_copy(bytes: u64) -> Kernel {
    const PIECE: u32 = 1 << 16;
    const UNDER_WAY: u64 = 19;
    let pieces = bytes.div_ceil(u64::from(PIECE)).max(1);
    let stream = Tensor { piece_bytes: PIECE, ..Tensor::stream(bytes) };
    let tile =
        |tensor| Tile { tensor, row: Expr::default(), byte: Expr::work(0, i64::from(PIECE)), rows: 1, bytes: PIECE };
    let ops = vec![copy(tile(0), Path::Bulk, 0), Op::Wait(0), Op::Store { tile: tile(1), reduce: false }, Op::Next];
    Kernel {
        name: format!("copy engines of {bytes}"),
        threads: 32,
        registers: PLAIN_REGISTERS,
        shared_bytes: PIECE,
        cluster: 1,
        grid: pieces.min(UNDER_WAY) as u32,
        items: numbered(pieces),
        tensors: vec![stream, stream],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: one_role(1, ops),
        pipelined: false,
    }
}

/// Rows of a table, picked by an index: an embedding.
pub fn gather(rows: u32, columns: u32, table_rows: u32, element_bytes: u32) -> Kernel {
    let row_bytes = columns * element_bytes;
    // Chance decides which rows: a fixed sequence that spreads over the table.
    let items: Vec<[i32; WORK_VARS]> = (0..rows)
        .map(|i| {
            let pick = (u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % u64::from(table_rows.max(1));
            [i as i32, pick as i32, 0, 0, 0, 0]
        })
        .collect();
    let from = Tile { tensor: 0, row: Expr::work(1, 1), byte: Expr::default(), rows: 1, bytes: row_bytes };
    let to = Tile { tensor: 1, row: Expr::work(0, 1), byte: Expr::default(), rows: 1, bytes: row_bytes };
    let index = Tile { tensor: 2, row: Expr::default(), byte: Expr::work(0, 8), rows: 1, bytes: 8 };
    let ops = vec![
        copy(index, Path::LoadL1, 0),
        Op::Wait(0),
        copy(from, Path::Load, 0),
        Op::Wait(0),
        Op::Vector(lanes(f64::from(columns), 0.0, 1.0, 0.0, 0.5)),
        Op::Store { tile: to, reduce: false },
    ];
    let piece = row_bytes.clamp(32, 1 << 14);
    Kernel {
        name: format!("gather {rows}x{columns}"),
        threads: 128,
        registers: PLAIN_REGISTERS,
        shared_bytes: 0,
        cluster: 1,
        grid: rows.max(1),
        items,
        tensors: vec![
            Tensor::matrix(u64::from(table_rows), u64::from(row_bytes), 1, piece),
            Tensor::matrix(u64::from(rows), u64::from(row_bytes), 1, piece),
            Tensor::stream(u64::from(rows) * 8),
        ],
        barriers: vec![Barrier { arrivals: 1, credits: 0 }],
        roles: one_role(4, ops),
        pipelined: false,
    }
}
