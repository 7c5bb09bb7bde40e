//! The order of a product's tiles: bands of them, and which cluster begins with which.

use banksia_hw::gpu::spec::GpuSpec;

/// Along which side of a matrix of tiles a band lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A band is so many rows high; it goes through all columns.
    Rows,
    /// So many columns wide, through all rows.
    Columns,
}

/// Bands in which the tiles of a matrix are taken, in clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raster {
    /// Clusters across a band.
    pub band: u32,
    /// What they are counted along.
    pub along: Side,
    /// Every other band is gone through backwards.
    pub turns: bool,
}

impl Raster {
    /// Bands of so many rows, each from its first column.
    pub const fn rows(band: u32) -> Self {
        Self { band, along: Side::Rows, turns: false }
    }

    /// That of cuBLAS 13's kernels for Hopper, from the parameters of 22 launches (`device_order.csv`): clusters of several CTAs along
    /// one side lie in bands along the other; those along both, along the columns of the result in memory. `tile` and `cluster` are
    /// rows and columns, `weights_first` says that the result's columns are the rows here.
    pub fn cublas(sms: u32, tile: (u32, u32), cluster: (u32, u32), weights_first: bool) -> Self {
        let (high, wide) = (f64::from(tile.0 * cluster.0), f64::from(tile.1 * cluster.1));
        let along = match (cluster.0 > 1, cluster.1 > 1) {
            (true, false) => Side::Columns,
            (false, true) => Side::Rows,
            _ if weights_first => Side::Rows,
            _ => Side::Columns,
        };
        let (across, through, ctas) = match along {
            Side::Rows => (high, wide, cluster.0),
            Side::Columns => (wide, high, cluster.1),
        };
        let band = ((f64::from(sms) * across / through).sqrt() / f64::from(ctas)).round().max(1.0);
        Self { band: band as u32, along, turns: true }
    }

    /// Row and column of every cluster of a matrix of so many, in order.
    pub(super) fn clusters(self, rows: u32, columns: u32) -> impl Iterator<Item = (u32, u32)> {
        let (across, through) = match self.along {
            Side::Rows => (rows, columns),
            Side::Columns => (columns, rows),
        };
        let band = self.band.max(1);
        (0..across.div_ceil(band)).flat_map(move |b| {
            let first = b * band;
            let size = band.min(across - first);
            let back = self.turns && b % 2 == 1;
            (0..through).flat_map(move |t| {
                let t = if back { through - 1 - t } else { t };
                (first..first + size).map(move |a| match self.along {
                    Side::Rows => (a, t),
                    Side::Columns => (t, a),
                })
            })
        })
    }

    /// Row and column of every tile; the CTAs of one cluster are neighbours. Clusters may be whole, with tiles beyond the matrix.
    pub(super) fn tiles(self, rows: u32, columns: u32, cluster: (u32, u32), whole: bool) -> Vec<(u32, u32)> {
        let (cr, cc) = cluster;
        let mut tiles = Vec::with_capacity(rows as usize * columns as usize);
        for (gr, gc) in self.clusters(rows.div_ceil(cr), columns.div_ceil(cc)) {
            for r in 0..cr {
                for c in 0..cc {
                    let (row, column) = (gr * cr + r, gc * cc + c);
                    if whole || (row < rows && column < columns) {
                        tiles.push((row, column));
                    }
                }
            }
        }
        tiles
    }
}

/// Gives clusters of one GPC neighbouring first tiles: cuBLAS hands its kernels a table from the number of a cluster to that of its
/// first tile, made for the chip that it runs on (`device_order.csv`). Further tiles are taken in order.
pub fn by_gpc<T: Copy>(items: &mut [T], grid: u32, cluster: u32, spec: &GpuSpec) {
    let cluster = cluster.max(1) as usize;
    let first = (grid as usize).min(items.len()) / cluster;
    let mut order: Vec<(u32, usize)> =
        spec.cluster_gpcs(cluster as u32).into_iter().take(first).enumerate().map(|(i, gpc)| (gpc, i)).collect();
    order.sort_unstable();
    let before = items[..order.len() * cluster].to_vec();
    for (tile, &(_, launched)) in order.iter().enumerate() {
        items[launched * cluster..][..cluster].copy_from_slice(&before[tile * cluster..][..cluster]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tile once, whatever the bands.
    #[test]
    fn every_tile_is_taken_once() {
        for along in [Side::Rows, Side::Columns] {
            for (band, turns) in [(1, false), (3, true), (8, true)] {
                let r = Raster { band, along, turns };
                let mut tiles = r.tiles(7, 11, (2, 1), false);
                assert_eq!(tiles.len(), 77);
                tiles.sort_unstable();
                tiles.dedup();
                assert_eq!(tiles.len(), 77);
            }
        }
    }

    /// Clusters are filled up with tiles beyond the matrix; CTAs that fill no cluster, and clusters that the chip has no room for, keep their tiles.
    #[test]
    fn clusters_are_whole_where_they_should_be() {
        assert_eq!(Raster::rows(8).tiles(3, 5, (2, 4), true).len(), 4 * 8);
        let spec = banksia_hw::gpu::device("h200").unwrap_or_else(|e| panic!("{e}"));
        for grid in [1, 7, 131, 400] {
            let mut tiles: Vec<u32> = (0..grid).collect();
            by_gpc(&mut tiles, grid, 2, &spec);
            assert_eq!(tiles.iter().sum::<u32>(), grid * (grid - 1) / 2);
            assert!((0..grid).skip(132).all(|i| tiles[i as usize] == i));
            assert_eq!(tiles[grid as usize - 1], grid - 1);
        }
    }

    /// `device_order.csv`: bands by tile and cluster, in clusters, and the tables from clusters to first tiles.
    #[test]
    fn bands_and_tables_are_those_of_the_library() {
        let text = include_str!("../../../tests/reference/gpu/device_order.csv");
        let spec = banksia_hw::gpu::device("h200").unwrap_or_else(|e| panic!("{e}"));
        let mut seen = 0;
        for f in text.lines().map(|l| l.split(',').collect::<Vec<_>>()).filter(|f| f[0] == "cublas") {
            let of = |i: usize| {
                let (x, y) = f[i].split_once('x').unwrap_or_else(|| panic!("{}", f[i]));
                (x.parse::<u32>().unwrap_or(0), y.parse::<u32>().unwrap_or(0))
            };
            // Columns of the result come first in the library's names.
            let (tile, cluster) = (of(3), of(4));
            let r = Raster::cublas(spec.sms(), tile, cluster, true);
            let band = f64::from(f[6].parse::<u32>().unwrap_or(0));
            assert!((f64::from(r.band) / band).ln().abs() < 0.2, "{}: {r:?}, not {band}", f[2]);
            assert_eq!(r.along, if f[5] == "v" { Side::Columns } else { Side::Rows }, "{}", f[2]);
            let table: Vec<u32> = f[7].split(' ').map(|x| x.parse().unwrap_or(999)).collect();
            let ctas = cluster.0 * cluster.1;
            let count = table.len() as u32;
            let mut tiles: Vec<u32> = (0..count).flat_map(|i| std::iter::repeat_n(i, ctas as usize)).collect();
            by_gpc(&mut tiles, count * ctas, ctas, &spec);
            let first: Vec<u32> = tiles.into_iter().step_by(ctas as usize).collect();
            assert_eq!(first, table, "{}", f[2]);
            seen += 1;
        }
        assert_eq!(seen, 22);
    }
}
