/*
 * A plugin for QEMU's software CPU (plugin interface, version 1) that counts what a guest with one vCPU executes:
 * from reset to its first instruction in user space, and to the end. `kernel-config/count-instructions` builds and
 * uses it.
 *
 * QEMU calls on_translate once for each block that it translates, and on_execute each time the block runs, before its
 * first instruction. A block always runs to its end unless an exception leaves it, which makes the count a little too
 * high, by less than the repeatability of a boot (0.2 %).
 *
 * Arguments: profile=FILE writes a line "address instructions" for each block; stop=user ends QEMU at the first
 * instruction in user space; stop=ADDRESS*TIMES ends it when, after that, the block at the hexadecimal ADDRESS is
 * entered for the TIMESth time.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Debian packages QEMU without the plugin header: these are the parts of the interface that are used. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

/* The kernel's half of the address space. */
static const uint64_t UPPER_HALF = 0xffff000000000000;

/*
 * Low addresses are user space only once the kernel runs: before that they are the boot code, which changes to the
 * upper half and back while it sets up its page tables. That is over long before this many instructions.
 */
static const uint64_t EARLY_BOOT = 10000000;

struct block {
  struct block *previous;
  uint64_t address, instructions, executed;
};

static struct block *blocks;
static uint64_t total, kernel_entered, user_entered;
static const char *profile;
static int stop_at_user;
static uint64_t stop_address, stop_times;

static void report(void) {
  printf("first-user %" PRIu64 "\nall %" PRIu64 "\n", user_entered, total);
  FILE *out = profile ? fopen(profile, "w") : NULL;
  if (out) {
    for (struct block *block = blocks; block; block = block->previous)
      fprintf(out, "%016" PRIx64 " %" PRIu64 "\n", block->address, block->executed * block->instructions);
    fclose(out);
  }
  fflush(stdout);
}

static void stop(void) {
  report();
  _Exit(0);
}

static void on_execute(unsigned cpu, void *data) {
  struct block *block = data;
  if (block->address >= UPPER_HALF) {
    if (!kernel_entered) kernel_entered = total + 1;
  } else if (!user_entered && kernel_entered && total > kernel_entered + EARLY_BOOT) {
    user_entered = total;
    if (stop_at_user) stop();
  }
  if (user_entered && stop_times && block->address == stop_address && --stop_times == 0) {
    printf("stopped %" PRIu64 "\n", total);
    stop();
  }
  block->executed++;
  total += block->instructions;
}

static void on_translate(plugin_id id, struct qemu_plugin_tb *tb) {
  struct block *block = malloc(sizeof *block);
  if (!block) abort();
  *block = (struct block){blocks, qemu_plugin_tb_vaddr(tb), qemu_plugin_tb_n_insns(tb), 0};
  blocks = block;
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execute, 0, block);
}

static void on_exit_of_qemu(plugin_id id, void *data) { report(); }

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
  for (int i = 0; i < count; i++) {
    if (!strncmp(arguments[i], "profile=", 8))
      profile = strdup(arguments[i] + 8);
    else if (!strcmp(arguments[i], "stop=user"))
      stop_at_user = 1;
    else if (sscanf(arguments[i], "stop=%" SCNx64 "*%" SCNu64, &stop_address, &stop_times) == 2)
      ;
    else
      return fprintf(stderr, "unknown argument %s\n", arguments[i]), 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
  qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
  return 0;
}
