//! Asks the processor to fetch memory that will be read soon. Changes nothing but time.

/// Bytes that arrive together.
pub(crate) const CACHE_LINE_BYTES: usize = 64;

pub(crate) use native::prefetch;

#[cfg(target_arch = "x86_64")]
mod native {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    /// Fetches the cache line at `address`, which may be any number at all: one that is not
    /// mapped, or no longer, is ignored.
    #[inline]
    #[expect(unsafe_code, reason = "the intrinsic is declared unsafe")]
    pub(crate) fn prefetch(address: usize) {
        let pointer = std::ptr::without_provenance::<i8>(address);
        // SAFETY: the instruction is a hint, it reads nothing the program can see and does not
        // fault on any address; SSE, which has it, is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(pointer) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod native {
    /// There is no stable way to ask here.
    #[inline]
    pub(crate) fn prefetch(_address: usize) {}
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_address_is_harmless() {
        for address in [0, 1, 4096, usize::MAX, usize::MAX / 2] {
            super::prefetch(address);
        }
    }
}
