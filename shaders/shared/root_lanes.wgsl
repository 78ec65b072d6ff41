// The square root of LANES, 16 or 8: two short sums instead of a tree, with two barriers instead of eight.
const MOST_ROOT: u32 = 16u;
override ROOT: u32 = 8u * (1u + LANES / 256u);
