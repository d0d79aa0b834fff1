/* deploy/demo/picture.h -- writes a picture as a PNG file */
#ifndef DEMO_PICTURE_H
#define DEMO_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

/* pixels: red | green << 8 | blue << 16, in rows from the top. False with a line on standard
 * error when the file cannot be written. */
bool demo_picture_write(const char *path, uint32_t width, uint32_t height, const uint32_t *pixels);

#endif
