//! The memory table is the whole device, and docs/memory.md's formula is the table.

use bissl_firmware::shape::{
    CLASSES, DOWNSTREAM_BATCH, EMBEDDING, FEATURES, HIDDEN, PIXELS, PROJECTED, VIEWS,
};
use bissl_firmware::{Buffer, Device, SCALARS, memory_table};

fn table() -> [Buffer; 12] {
    memory_table()
}

#[test]
fn table_adds_up_to_the_device() {
    let total: u32 = table().iter().map(Buffer::total).sum();
    assert_eq!(total as usize, Device::BYTES);
}

#[test]
fn documented_formula_is_the_table() {
    let (h, f, p, z) = (HIDDEN, FEATURES, PROJECTED, EMBEDDING);
    let backbone = PIXELS * h + h + h * f + f;
    let pretext_head = f * p + p + p * z;
    let downstream_head = f * CLASSES + CLASSES;
    let vectors = 8 * backbone + 3 * pretext_head + 4 * downstream_head;
    let pretext = VIEWS * (PIXELS + 4 * (h + f + p + z)) + VIEWS * (4 * z + VIEWS + 1);
    let downstream = DOWNSTREAM_BATCH * (PIXELS + 2 * (h + f + CLASSES));
    let labels = DOWNSTREAM_BATCH.next_multiple_of(4);
    let bytes = 4 * (vectors + pretext + downstream + SCALARS) + labels;
    let [buffers @ .., _rest] = table();
    assert_eq!(buffers.iter().map(Buffer::total).sum::<u32>() as usize, bytes);
}
