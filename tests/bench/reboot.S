/* The smallest init: reboot(2) at once, which under -no-reboot ends QEMU. What a bare boot costs is measured with it. */
        .globl  _start
_start: mov     $169, %eax              /* reboot */
        mov     $0xfee1dead, %edi       /* LINUX_REBOOT_MAGIC1 */
        mov     $672274793, %esi        /* LINUX_REBOOT_MAGIC2 */
        mov     $0x01234567, %edx       /* LINUX_REBOOT_CMD_RESTART */
        xor     %r10d, %r10d
        syscall
        ud2
