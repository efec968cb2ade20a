//! The memory allocator of Corten's programs: mimalloc. Serving the API is many small allocations on several threads: with the C
//! library's allocator they were a third of its time.
//!
//! mimalloc's functions for any alignment find memory quickly only where the size is a power of two. Others get some more than they
//! need, with a place within that must be found again when it is freed. But nearly nothing needs another alignment than what
//! `malloc` gives.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::{c_int, c_long};
use std::time::Duration;

use libmimalloc_sys::{mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned};

/// To be a program's `#[global_allocator]`.
pub struct Allocator;

/// The alignment that `malloc` gives to whatever is as large: that of C's `max_align_t`.
const ALIGNMENT: usize = 16;

const fn is_aligned_anyway(size: usize, alignment: usize) -> bool {
    alignment <= ALIGNMENT && alignment <= size
}

// SAFETY: mimalloc's functions do what `malloc` and its kin do, for any thread, and do not unwind; what one of them has given, each of
// the others takes. Where the alignment is not passed on, it is what they give to that size.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        // SAFETY: they may be called with anything.
        let memory = unsafe { if is_aligned_anyway(size, alignment) { mi_malloc(size) } else { mi_malloc_aligned(size, alignment) } };
        memory.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        // SAFETY: they may be called with anything.
        let memory = unsafe { if is_aligned_anyway(size, alignment) { mi_zalloc(size) } else { mi_zalloc_aligned(size, alignment) } };
        memory.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, _layout: Layout) {
        // SAFETY: the caller has it from this allocator.
        unsafe { mi_free(memory.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (memory, alignment) = (memory.cast(), layout.align());
        // SAFETY: the caller has it from this allocator.
        let memory = unsafe {
            if is_aligned_anyway(size, alignment) { mi_realloc(memory, size) } else { mi_realloc_aligned(memory, size, alignment) }
        };
        memory.cast()
    }
}

/// mimalloc's number of the option that says for how many milliseconds free memory is kept.
const PURGE_DELAY: c_int = 15;

// SAFETY: declared as in mimalloc.h, and part of the program because the allocator is. Any thread may call them at any time: they
// free nothing but what is free already, and numbers that are no option's do nothing. The crate beneath declares them only together
// with types of a further crate.
#[allow(unsafe_code)]
unsafe extern "C" {
    safe fn mi_collect(force: bool);
    #[cfg(test)]
    safe fn mi_option_get(option: c_int) -> c_long;
    safe fn mi_option_set(option: c_int, value: c_long);
}

/// Gives back what is free in this thread's heap.
pub fn collect() {
    mi_collect(true);
}

/// For how long a page that is free is kept for what needs one next. Longer is quicker; but what is taken again is in memory as a
/// whole, however little of it is needed this time.
pub fn keep_free_pages_for(delay: Duration) {
    mi_option_set(PURGE_DELAY, c_long::try_from(delay.as_millis()).unwrap_or(c_long::MAX));
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    /// The number is still that of the option that is a second unless somebody sets it.
    #[test]
    fn delay() {
        assert_eq!(mi_option_get(PURGE_DELAY), 1000);
        keep_free_pages_for(Duration::from_millis(7));
        assert_eq!(mi_option_get(PURGE_DELAY), 7);
    }

    /// Memory is aligned as it must be, zero where that is asked for, and keeps what is in it when it grows and shrinks.
    #[test]
    fn every_size_and_alignment() {
        for alignment in (0..=12).map(|bits| 1_usize << bits) {
            for size in (1..200).chain([255, 256, 257, 1000, 1023, 1024, 1025, 4096, 5000, 70_000, 1 << 20]) {
                let layout = Layout::from_size_align(size, alignment).unwrap();
                // SAFETY: the sizes are not zero, and what is looked at is within them.
                unsafe {
                    let zeroed = Allocator.alloc_zeroed(layout);
                    let memory = Allocator.alloc(layout);
                    let all = std::slice::from_raw_parts(zeroed, size);
                    assert!(all.iter().all(|byte| *byte == 0), "{layout:?}");
                    memory.write_bytes(7, size);
                    let grown = Allocator.realloc(memory, layout, size * 3);
                    assert!(std::slice::from_raw_parts(grown, size).iter().all(|byte| *byte == 7), "{layout:?}");
                    let layout_grown = Layout::from_size_align(size * 3, alignment).unwrap();
                    let shrunk = Allocator.realloc(grown, layout_grown, size.div_ceil(2));
                    assert!(std::slice::from_raw_parts(shrunk, size.div_ceil(2)).iter().all(|byte| *byte == 7), "{layout:?}");
                    for place in [zeroed, memory, grown, shrunk] {
                        assert_eq!(place.addr() % alignment, 0, "{layout:?}");
                    }
                    Allocator.dealloc(shrunk, Layout::from_size_align(size.div_ceil(2), alignment).unwrap());
                    Allocator.dealloc(zeroed, layout);
                }
            }
        }
    }
}
