/* deploy/demo/reference.h -- the demo picture computed on the CPU, step for step as scene.ptx does
 *
 * Each function repeats the operations of the kernel of its name in the same order
 * and rounding, so that the results must agree bit for bit. Pure; any thread. */
#ifndef DEMO_REFERENCE_H
#define DEMO_REFERENCE_H

#include <stdint.h>

struct demo_sphere {
    float x, y, z, radius;
    float red, green, blue, reflect;
};

struct demo_scene {
    uint32_t width, height;
    uint32_t floor_size; /* power of two */
    uint32_t most_steps;
    double left, top, step; /* the part of the plane that the floor shows */
    float floor_scale;      /* floor points per unit of length */
    uint32_t sphere_count;
    struct demo_sphere spheres[16];
};

struct demo_light {
    float red, green, blue, zero;
};

void demo_fractal(const struct demo_scene *scene, uint32_t *floor);
void demo_trace(const struct demo_scene *scene, const uint32_t *floor, struct demo_light *light);
uint64_t demo_measure(const struct demo_light *light, uint32_t count);
void demo_develop(const struct demo_light *light, uint64_t total, uint32_t count, uint32_t *out);

#endif
