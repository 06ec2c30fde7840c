/*
 * For tests under wine alone: every Rust program takes its random numbers from bcryptprimitives.dll, which wine 8 does
 * not have. This one hands the request to the older interface of advapi32, which wine does have. Never shipped.
 */
#include <windows.h>

/* RtlGenRandom under its exported name; no header declares it. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
  while (length > 0) {
    ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
    if (!SystemFunction036(buffer, part)) return FALSE;
    buffer += part;
    length -= part;
  }
  return TRUE;
}
