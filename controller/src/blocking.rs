//! Work that blocks: git objects, rendering, the disk.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does work that blocks. On a runtime with several threads another one takes over what waits for this one meanwhile; on
/// one with a single thread, where simulations run, everything waits.
///
/// Must be called within a runtime.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_on_every_kind_of_runtime() {
        for mut runtime in [
            tokio::runtime::Builder::new_current_thread(),
            tokio::runtime::Builder::new_multi_thread(),
        ] {
            let runtime = runtime.build().unwrap();
            let done = runtime.block_on(async { tokio::spawn(async { in_place(|| 7) }).await });
            assert_eq!(done.unwrap(), 7);
        }
    }
}
