// Lanes of a workgroup: as many as WebGPU's default limits allow, or 64 for devices that allow no more. Arrays have room for the most.
const MOST_LANES: u32 = 256u;
override LANES: u32 = 256u;
