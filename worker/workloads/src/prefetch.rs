//! Asking the processor for memory before it is needed. What is read too early keeps everything behind it
//! waiting; what is asked for does not.

/// Bytes that come from memory at once.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Asks for all of a value, or of a slice's elements. It changes nothing but the time that is taken; on other
/// processors than x86-64, not even that.
#[cfg(target_arch = "x86_64")]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    let begin = std::ptr::from_ref(value).cast::<u8>();
    let into_line = begin.addr() % LINE_BYTES;
    let lines = (into_line + size_of_val(value)).div_ceil(LINE_BYTES);
    (0..lines).for_each(|line| ask(begin.wrapping_sub(into_line).wrapping_add(line * LINE_BYTES)));
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the only name that stable Rust has for it")]
fn ask(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint. It reads nothing that a program sees, and an address of nothing does not fault (Intel's
    // and AMD's manuals on PREFETCHh); these are of a value that is borrowed.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn prefetch<T: ?Sized>(_value: &T) {}
