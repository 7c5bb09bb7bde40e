//! Folder names for the points of a sweep.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

/// Names longer than this are cut, and told apart by a hash: file systems take 255 bytes.
const LONGEST: usize = 120;

/// Letters, digits, dots and dashes of a name.
pub(super) fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || (c == '.' && !out.is_empty()) {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let mut out = out.trim_end_matches(['-', '.']).to_owned();
    if out.is_empty() {
        out.push_str("point");
    }
    // The sweep's own files lie beside the points' folders.
    if out.starts_with("comparison.") {
        out.insert_str(0, "point-");
    }
    if out.len() > LONGEST {
        let hash = Sha256::digest(out.as_bytes());
        out.truncate(LONGEST - 9);
        out.push('-');
        out.extend(hash.iter().take(4).map(|b| format!("{b:02x}")));
    }
    out
}

/// The same names, numbered where several are equal.
pub(super) fn distinct(names: Vec<String>) -> Vec<String> {
    let mut seen: HashSet<String> = HashSet::with_capacity(names.len());
    names
        .into_iter()
        .map(|base| {
            let mut name = base.clone();
            let mut n = 2;
            while !seen.insert(name.clone()) {
                name = format!("{base}-{n}");
                n += 1;
            }
            name
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_folder_of_its_own() {
        assert_eq!(slug("GPT-3 XL, channels=8"), "gpt-3-xl-channels-8");
        assert_eq!(slug("é"), "point");
        assert_eq!(slug("../x"), "x");
        assert_eq!(slug("comparison.csv"), "point-comparison.csv");
        let long: String = (0..40).map(|i| format!("key{i}=1, ")).collect();
        assert!(slug(&long).len() <= LONGEST && slug(&long) != slug(&(long.clone() + "x")));
        assert_eq!(distinct(vec!["a".into(), "a".into(), "a-2".into()]), ["a", "a-2", "a-2-2"]);
    }
}
