//! A program without std around the engine. It is only linked, never run: see `no-std.sh`.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use alloc::vec::Vec;
use steersman_engine::{Engine, Input, Stamp};

struct Nothing;

// SAFETY: a null pointer is how an allocator says that it has nothing.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _pointer: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

#[panic_handler]
fn panic(_info: &PanicInfo) -> ! {
    loop {}
}

/// Uses the whole of the engine's interface, so that nothing of it is left out of the link.
#[unsafe(no_mangle)]
pub extern "C" fn drive() -> u64 {
    let mut engine = Engine::new(Default::default(), 1);
    let mut effects = Vec::new();
    engine.handle(Stamp::from_millis(0), Input::Begin, &mut effects);
    engine.digest() ^ engine.next_wakeup().map_or(0, |time| time.0) ^ effects.len() as u64
}
