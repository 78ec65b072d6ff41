/* bcryptprimitives.dll for Wine before version 9, which lacks it: Rust's standard library takes its random numbers from
   ProcessPrng. Wine's own source of random bytes is advapi32's SystemFunction036. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG n);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T n)
{
    while (n > 0) {
        ULONG part = n > 0x10000000 ? 0x10000000 : (ULONG)n;
        if (!SystemFunction036(bytes, part))
            return FALSE;
        bytes += part;
        n -= part;
    }
    return TRUE;
}
