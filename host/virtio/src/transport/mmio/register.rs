//! The register file (virtio 1.2 §4.2.2, table 4.1).

/// Bytes of address space of one device: a page, so that a hypervisor could map each separately.
pub const WINDOW_SIZE: u64 = 0x1000;

/// Offset of `QueueNotify`, for doorbells.
pub const QUEUE_NOTIFY: u64 = 0x050;

/// Where the device's own configuration begins.
pub(super) const CONFIG: u64 = 0x100;

macro_rules! registers {
    ($($offset:literal $name:ident,)*) => {
        /// A register; each is four bytes wide.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Register { $($name),* }

        impl Register {
            /// Every offset that is a register.
            #[cfg(test)]
            pub(super) const OFFSETS: &[u64] = &[$($offset),*];

            /// The register at an offset.
            pub(super) fn at(offset: u64) -> Option<Self> {
                match offset {
                    $($offset => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

registers! {
    0x000 MagicValue,
    0x004 Version,
    0x008 DeviceId,
    0x00c VendorId,
    0x010 DeviceFeatures,
    0x014 DeviceFeaturesSel,
    0x020 DriverFeatures,
    0x024 DriverFeaturesSel,
    0x030 QueueSel,
    0x034 QueueSizeMax,
    0x038 QueueSize,
    0x044 QueueReady,
    0x050 QueueNotify,
    0x060 InterruptStatus,
    0x064 InterruptAck,
    0x070 Status,
    0x080 QueueDescLow,
    0x084 QueueDescHigh,
    0x090 QueueDriverLow,
    0x094 QueueDriverHigh,
    0x0a0 QueueDeviceLow,
    0x0a4 QueueDeviceHigh,
    0x0ac ShmSel,
    0x0b0 ShmLenLow,
    0x0b4 ShmLenHigh,
    0x0b8 ShmBaseLow,
    0x0bc ShmBaseHigh,
    0x0fc ConfigGeneration,
}
