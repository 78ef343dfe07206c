//! Shards: which process refreshes which accounts.

use std::str::FromStr;

/// One of several processes that share the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// The number of this process, from 0.
    pub index: u32,
    /// The number of processes.
    pub total: u32,
}

/// How a process gets its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardIndex {
    /// A given number.
    Given(u32),
    /// By the number at the end of its host's name, as that of a pod of a Kubernetes StatefulSet.
    Auto,
}

/// Why there is no such shard.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host name does not end in a number.
    #[error("--shard auto: the host name {0:?} does not end in a dash and a number")]
    NoOrdinal(String),
    /// The number is too high.
    #[error("--shard: {index} is not below the {total} of --total-shards")]
    Beyond {
        /// The number of this process.
        index: u32,
        /// The number of processes.
        total: u32,
    },
}

impl Default for Shard {
    /// All accounts.
    fn default() -> Shard {
        Shard { index: 0, total: 1 }
    }
}

impl Shard {
    /// The shard that this process is, on a host of this name.
    pub fn new(index: ShardIndex, total: u32, host: &str) -> Result<Shard, Error> {
        let index = match index {
            ShardIndex::Given(index) => index,
            ShardIndex::Auto => host
                .rsplit_once('-')
                .and_then(|(_, ordinal)| ordinal.parse().ok())
                .ok_or_else(|| Error::NoOrdinal(host.to_owned()))?,
        };
        if index < total { Ok(Shard { index, total }) } else { Err(Error::Beyond { index, total }) }
    }

    /// Such as `shard 0 of 3`. `None`: there is only one, with all accounts.
    pub fn name(&self) -> Option<String> {
        (self.total > 1).then(|| format!("shard {} of {}", self.index, self.total))
    }

    /// Whether the account of this id is one of this shard. The same for every process, platform and
    /// release: of n shards exactly one owns it, and when there is one more, about one account in
    /// n + 1 moves, to the new shard.
    pub fn owns(&self, id: &str) -> bool {
        jump(stable_hash(id.as_bytes()), self.total) == self.index
    }
}

impl FromStr for ShardIndex {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ShardIndex, Self::Err> {
        match text {
            "auto" => Ok(ShardIndex::Auto),
            number => number.parse().map(ShardIndex::Given).map_err(|_| "must be a number or auto"),
        }
    }
}

/// A hash that no release changes, as the standard library's may: FNV-1a of 64 bits.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// "A Fast, Minimal Memory, Consistent Hash Algorithm" (Lamping and Veach, 2014).
fn jump(mut hash: u64, shards: u32) -> u32 {
    let (mut shard, mut next) = (0, 0.0);
    while next < f64::from(shards) {
        shard = next as u32;
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((f64::from(shard) + 1.0) * 2f64.powi(31) / ((hash >> 33) as f64 + 1.0)).floor();
    }
    shard
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Vec<String> {
        (0..1_000u64).map(|index| format!("{:012}", 100_000_000_000 + index * 104_729)).collect()
    }

    fn shard_of(id: &str, total: u32) -> u32 {
        let mut owners = (0..total).filter(|index| Shard { index: *index, total }.owns(id));
        let owner = owners.next().expect("an owner");
        assert_eq!(owners.next(), None, "{id} has two owners");
        owner
    }

    #[test]
    fn every_account_is_on_one_shard_and_shards_are_about_even() {
        for total in [1, 2, 3, 4, 7, 10] {
            let mut counts = vec![0; total as usize];
            for id in ids() {
                counts[shard_of(&id, total) as usize] += 1;
            }
            let even = 1_000 / total;
            let odd = counts.iter().find(|count| !(even * 7 / 10..=even * 13 / 10).contains(count));
            assert_eq!(odd, None, "{counts:?}");
        }
    }

    #[test]
    fn a_further_shard_takes_its_share_and_nothing_else_moves() {
        for total in [1, 2, 3, 9] {
            let moved: Vec<u32> = ids()
                .iter()
                .map(|id| (shard_of(id, total), shard_of(id, total + 1)))
                .filter(|(before, after)| before != after)
                .map(|(_, after)| after)
                .collect();
            assert!(moved.iter().all(|after| *after == total), "to the new one");
            let share = 1_000 / (total as usize + 1);
            assert!((share * 7 / 10..=share * 13 / 10).contains(&moved.len()), "{}", moved.len());
        }
    }

    #[test]
    fn shards_of_known_accounts_never_change() {
        let shards: Vec<u32> = ["123456789012", "111111111111", "000000000000", "unknown"]
            .map(|id| shard_of(id, 10))
            .into();
        assert_eq!(shards, [7, 7, 5, 6]);
    }

    #[test]
    fn a_pod_of_a_stateful_set_knows_its_shard() {
        let auto = |host, total| Shard::new(ShardIndex::Auto, total, host);
        assert_eq!(auto("iam-key-exporter-2", 3), Ok(Shard { index: 2, total: 3 }));
        assert_eq!(auto("iam-key-exporter-2", 2), Err(Error::Beyond { index: 2, total: 2 }));
        for host in ["laptop", "web-", "web-a", "web2", ""] {
            assert_eq!(auto(host, 3), Err(Error::NoOrdinal(host.to_owned())));
        }
        assert_eq!(
            Shard::new("1".parse().expect("a number"), 2, ""),
            Ok(Shard { index: 1, total: 2 })
        );
        assert!("one".parse::<ShardIndex>().is_err());
    }
}
