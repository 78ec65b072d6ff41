// What both compilers must refuse: scripts/cross shows with it that a refusal would be noticed.
RWByteAddressBuffer words : register(u0);

[numthreads(64, 1, 1)] void main(uint3 at : SV_DispatchThreadID) { words.Store(at.x * 4, undeclared); }
