/* deploy/demo/picture.c */
#include "picture.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
demo_picture_write(const char *path, uint32_t width, uint32_t height, const uint32_t *pixels)
{
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB};
    size_t count = (size_t)width * height;
    unsigned char *bytes = malloc(count * 3);
    bool ok;

    if (bytes == NULL) {
        fprintf(stderr, "%s: out of memory\n", path);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        bytes[3 * i] = (unsigned char)pixels[i];
        bytes[3 * i + 1] = (unsigned char)(pixels[i] >> 8);
        bytes[3 * i + 2] = (unsigned char)(pixels[i] >> 16);
    }
    ok = png_image_write_to_file(&image, path, 0, bytes, 0, NULL) != 0;
    if (!ok)
        fprintf(stderr, "%s: %s\n", path, image.message);
    free(bytes);
    return ok;
}
