/* tests/unit/frontend_cuda/test_image.c -- JIT options and image files */
#include "frontend/cuda/image.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

Test(jit, logs_come_back_cut_to_the_room_with_their_length)
{
    char info[16], error[8];
    CUjit_option options[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                              CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                              CU_JIT_MAX_REGISTERS};
    void *values[] = {info, (void *)sizeof(info), error, (void *)sizeof(error), (void *)32};
    struct fe_jit jit;

    cr_assert_eq(fe_jit_read(&jit, 5, options, values), CUDA_SUCCESS);
    cr_expect_eq(jit.info_bytes, sizeof(info));
    cr_expect_eq(jit.error_bytes, sizeof(error));
    cr_assert_eq(jit.count, 1);
    cr_expect_eq(jit.options[0], CU_JIT_MAX_REGISTERS);
    cr_expect_eq(jit.values[0], 32);
    fe_jit_answer(&jit, "short", "a line that is too long");
    cr_expect_str_eq(info, "short");
    cr_expect_eq((size_t)values[1], 6);
    cr_expect_str_eq(error, "a line ");
    cr_expect_eq((size_t)values[3], 8);
}

Test(jit, what_cannot_travel_is_refused)
{
    CUjit_option pointer[] = {CU_JIT_GLOBAL_SYMBOL_NAMES}, unknown[] = {(CUjit_option)999};
    void *values[] = {NULL};
    struct fe_jit jit;

    cr_expect_eq(fe_jit_read(&jit, 1, pointer, values), CUDA_ERROR_NOT_SUPPORTED);
    cr_expect_eq(fe_jit_read(&jit, 1, unknown, values), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(fe_jit_read(&jit, 1, NULL, values), CUDA_ERROR_INVALID_VALUE);
    cr_expect_eq(fe_jit_read(&jit, 0, NULL, NULL), CUDA_SUCCESS);
}

Test(jit, size_without_a_buffer_asks_for_no_log)
{
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {(void *)4096};
    struct fe_jit jit;

    cr_assert_eq(fe_jit_read(&jit, 1, options, values), CUDA_SUCCESS);
    cr_expect_eq(jit.error_bytes, 0);
    fe_jit_answer(&jit, "x", "y");
}

static void
write_file(char *path, const void *data, size_t len)
{
    int fd = mkstemp(path);

    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

Test(files, text_is_read_with_its_end_and_a_cut_elf_file_is_refused)
{
    char text_path[] = "/tmp/gp-image-XXXXXX", elf_path[] = "/tmp/gp-image-XXXXXX";
    static const char text[] = ".version 7.0\n.target sm_70\n";
    void *image = NULL;

    write_file(text_path, text, sizeof(text) - 1);
    cr_assert_eq(fe_image_read(text_path, &image), CUDA_SUCCESS);
    cr_expect_str_eq(image, text);
    free(image);
    write_file(elf_path,
               "\x7f"
               "ELF\2\1\1",
               7);
    cr_expect_eq(fe_image_read(elf_path, &image), CUDA_ERROR_INVALID_IMAGE);
    cr_expect_eq(fe_image_read("/does/not/exist", &image), CUDA_ERROR_FILE_NOT_FOUND);
    unlink(text_path);
    unlink(elf_path);
}
