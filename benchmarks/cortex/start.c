/* The vector table: newlib's start code, with the stack at the end of RAM. */
#include <stdint.h>

extern void _start(void);
extern char stack_end[];

typedef struct {
    void *stack;
    void (*reset)(void);
    uint32_t others[14];
} vector_table;

extern const vector_table vectors;
__attribute__((section(".vectors"), used)) const vector_table vectors = {stack_end, _start, {0}};
