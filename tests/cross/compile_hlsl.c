/* Compiles every FILE.hlsl of a folder with one of Microsoft's shader compilers, as wgpu does on Windows.

       compile_hlsl.exe dxcompiler.dll FOLDER       DXC, to shader model 6.0
       compile_hlsl.exe d3dcompiler_47.dll FOLDER   FXC, to shader model 5.1

   Prints what the compiler says of a file, and the time if it is long. The exit code is 1 if a file is refused, if there
   is a warning, or if the folder holds no file. */
#define COBJMACROS
#include <windows.h>

#include <d3dcompiler.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is called of dxcapi.h, which MinGW does not have: the methods of each interface up to the last one in use. */
typedef struct Object Object;
typedef struct {
    LPCVOID bytes;
    SIZE_T size;
    UINT encoding;
} DxcBuffer;
struct Object {
    const struct {
        HRESULT(WINAPI *query)(Object *, REFIID, void **);
        ULONG(WINAPI *add_ref)(Object *);
        ULONG(WINAPI *release)(Object *);
        union {
            struct {
                void *(WINAPI *pointer)(Object *);
                SIZE_T(WINAPI *size)(Object *);
            } blob;
            struct {
                HRESULT(WINAPI *status)(Object *, HRESULT *);
                HRESULT(WINAPI *code)(Object *, Object **);
                HRESULT(WINAPI *errors)(Object *, Object **);
            } result;
            struct {
                HRESULT(WINAPI *compile)(Object *, const DxcBuffer *, LPCWSTR *, UINT32, void *, REFIID, void **);
            } compiler;
        } u;
    } *methods;
};
typedef HRESULT(WINAPI *DxcCreateInstance)(REFCLSID, REFIID, void **);
static const GUID DXC_COMPILER = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID DXC_COMPILER_3 = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const GUID DXC_RESULT = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};
static const UINT UTF8 = 65001;

static Object *dxc;
static pD3DCompile fxc;

/* Both compilers' blobs begin with the same methods. */
static size_t blob_size(Object *blob) { return blob ? blob->methods->u.blob.size(blob) : 0; }

/* Warnings of FXC about naga's translation that change nothing. */
static const char *const HARMLESS[] = {
    "X3092", /* atomicSub becomes the addition of -1u: unsigned, as it says */
    "X3557", /* a loop of one turn is written out */
    "X4000", /* a function with more than one `return`: FXC does not see that every way through it ends in one */
};

static int is_harmless(const char *line, size_t n)
{
    for (size_t k = 0; k < sizeof HARMLESS / sizeof *HARMLESS; k++)
        for (size_t at = 0; at + strlen(HARMLESS[k]) <= n; at++)
            if (!memcmp(line + at, HARMLESS[k], strlen(HARMLESS[k])))
                return 1;
    return 0;
}

/* Prints what was said, line by line, but for harmless warnings; whether anything was. */
static int tell(const char *file, Object *blob)
{
    size_t n = blob_size(blob);
    const char *text = n ? blob->methods->u.blob.pointer(blob) : NULL;
    int told = 0;
    for (size_t begin = 0; begin < n;) {
        size_t length = 0;
        while (begin + length < n && !strchr("\r\n", text[begin + length])) /* or the terminating 0 */
            length++;
        if (length > 0 && !is_harmless(text + begin, length)) {
            printf("%s: %.*s\n", file, (int)length, text + begin);
            told = 1;
        }
        begin += length + 1;
    }
    return told;
}

static int compile(const char *name, const char *source, size_t length)
{
    Object *code = NULL, *said = NULL, *result = NULL;
    HRESULT status;
    if (dxc) {
        DxcBuffer buffer = {source, length, UTF8};
        /* The last: naga puts every comparison into parentheses of its own. */
        LPCWSTR arguments[] = {L"-E",   L"main", L"-T",   L"cs_6_0",
                               L"-HV",  L"2018", L"-Ges", L"-Wno-parentheses-equality"};
        status = dxc->methods->u.compiler.compile(dxc, &buffer, arguments, sizeof arguments / sizeof *arguments, NULL,
                                                  &DXC_RESULT, (void **)&result);
        if (SUCCEEDED(status) && result) {
            result->methods->u.result.status(result, &status);
            result->methods->u.result.errors(result, &said);
            result->methods->u.result.code(result, &code);
        }
    } else {
        status = fxc(source, length, name, NULL, NULL, "main", "cs_5_1", D3DCOMPILE_ENABLE_STRICTNESS, 0,
                     (ID3DBlob **)&code, (ID3DBlob **)&said);
    }
    int compiled = SUCCEEDED(status) && blob_size(code) > 0;
    int warned = tell(name, said);
    if (!compiled)
        printf("%s: refused\n", name);
    Object *made[] = {code, said, result};
    for (size_t k = 0; k < sizeof made / sizeof *made; k++)
        if (made[k])
            made[k]->methods->release(made[k]);
    return compiled && !warned;
}

/* The whole file, or NULL. */
static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    long n = ftell(file);
    rewind(file);
    char *text = n < 0 ? NULL : malloc(n + 1);
    if (text && fread(text, 1, n, file) != (size_t)n) {
        free(text);
        text = NULL;
    }
    fclose(file);
    *length = n;
    return text;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "compile_hlsl COMPILER.dll FOLDER\n");
        return 2;
    }
    HMODULE library = LoadLibraryA(argv[1]);
    if (!library) {
        fprintf(stderr, "%s: cannot be loaded (error %lu)\n", argv[1], GetLastError());
        return 1;
    }
    DxcCreateInstance create = (DxcCreateInstance)(void *)GetProcAddress(library, "DxcCreateInstance");
    if (create && FAILED(create(&DXC_COMPILER, &DXC_COMPILER_3, (void **)&dxc)))
        dxc = NULL;
    fxc = (pD3DCompile)(void *)GetProcAddress(library, "D3DCompile");
    if (!dxc && !fxc) {
        fprintf(stderr, "%s: is neither DXC nor FXC\n", argv[1]);
        return 1;
    }

    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s\\*.hlsl", argv[2]);
    WIN32_FIND_DATAA found;
    HANDLE search = FindFirstFileA(path, &found);
    int good = 0, bad = 0;
    DWORD began = GetTickCount();
    for (BOOL more = search != INVALID_HANDLE_VALUE; more; more = FindNextFileA(search, &found)) {
        size_t length;
        snprintf(path, sizeof path, "%s\\%s", argv[2], found.cFileName);
        char *source = read_file(path, &length);
        DWORD start = GetTickCount();
        if (!source)
            printf("%s: cannot be read\n", path);
        if (source && compile(found.cFileName, source, length))
            good++;
        else
            bad++;
        DWORD ms = GetTickCount() - start;
        if (ms > 2000)
            printf("%s: %.1f s\n", found.cFileName, ms / 1000.0);
        fflush(stdout);
        free(source);
    }
    printf("%d compiled without a warning, %d not, in %.0f s\n", good, bad, (GetTickCount() - began) / 1000.0);
    return good > 0 && bad == 0 ? 0 : 1;
}
