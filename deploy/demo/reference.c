/* deploy/demo/reference.c */
#include "reference.h"

#include <math.h>
#include <stdbool.h>

struct vec {
    float x, y, z;
};

static const struct vec lamp = {0.48f, 0.8f, -0.36f};

static float
dot(struct vec a, struct vec b)
{
    return fmaf(a.z, b.z, fmaf(a.y, b.y, a.x * b.x));
}

static struct vec
sub(struct vec a, struct vec b)
{
    return (struct vec){a.x - b.x, a.y - b.y, a.z - b.z};
}

/* o + d * t */
static struct vec
along_ray(struct vec o, struct vec d, float t)
{
    return (struct vec){fmaf(d.x, t, o.x), fmaf(d.y, t, o.y), fmaf(d.z, t, o.z)};
}

static struct vec
over(struct vec a, float s)
{
    return (struct vec){a.x / s, a.y / s, a.z / s};
}

static struct vec
centre(const struct demo_sphere *s)
{
    return (struct vec){s->x, s->y, s->z};
}

void
demo_fractal(const struct demo_scene *scene, uint32_t *floor)
{
    uint32_t size = scene->floor_size;

    for (uint32_t y = 0; y < size; y++) {
        for (uint32_t x = 0; x < size; x++) {
            double cx = fma(x, scene->step, scene->left), cy = fma(y, scene->step, scene->top);
            double zx = 0.0, zy = 0.0;
            uint32_t n = 0;

            do {
                double xx = zx * zx, yy = zy * zy;

                if (xx + yy > 4.0)
                    break;
                double xy = zx * zy;
                zx = (xx - yy) + cx;
                zy = fma(xy, 2.0, cy);
                n++;
            } while (n < scene->most_steps);
            floor[y * size + x] = n;
        }
    }
}

/* Half the discriminant of ray and sphere, and the distance to the closest approach. */
static float
approach(struct vec o, struct vec d, const struct demo_sphere *s, float *along_p)
{
    struct vec l = sub(o, centre(s));
    float along = dot(l, d);
    float off = fmaf(-s->radius, s->radius, dot(l, l));

    *along_p = along;
    return fmaf(along, along, -off);
}

/* What the ray meets first: a sphere's number, sphere_count for the floor, -1 for the sky. */
static int
nearest(const struct demo_scene *scene, struct vec o, struct vec d, float *best_p)
{
    float best = 1e30f, along;
    int id = -1;

    for (uint32_t i = 0; i < scene->sphere_count; i++) {
        float disc = approach(o, d, &scene->spheres[i], &along);

        if (disc <= 0.0f)
            continue;
        float dist = -along - sqrtf(disc);
        if (dist > 0.001f && dist < best) {
            best = dist;
            id = (int)i;
        }
    }
    if (d.y < -0.0001f) {
        float dist = -o.y / d.y;

        if (dist < best) {
            best = dist;
            id = (int)scene->sphere_count;
        }
    }
    *best_p = best;
    return id;
}

static bool
in_shadow(const struct demo_scene *scene, struct vec o)
{
    float along;

    for (uint32_t i = 0; i < scene->sphere_count; i++)
        if (approach(o, lamp, &scene->spheres[i], &along) > 0.0f && along < 0.0f)
            return true;
    return false;
}

static float
triangle(uint32_t n, int half)
{
    int t = (int)(n & (uint32_t)(2 * half - 1)) - half;

    return (float)(t < 0 ? -t : t) * (1.0f / (float)half);
}

static struct demo_sphere
paint_floor(const struct demo_scene *scene, const uint32_t *floor, struct vec p)
{
    uint32_t mask = scene->floor_size - 1, half = scene->floor_size / 2;
    uint32_t u = ((uint32_t)(int32_t)floorf(p.x * scene->floor_scale) + half) & mask;
    uint32_t v = ((uint32_t)(int32_t)floorf(p.z * scene->floor_scale) + half) & mask;
    uint32_t n = floor[v * scene->floor_size + u];

    return (struct demo_sphere){.red = triangle(n, 16), .green = triangle(n, 32),
                                .blue = triangle(n, 64), .reflect = 0.2f};
}

static struct demo_light
sky(struct demo_light sum, float dy, float weight)
{
    float f = fmaf(dy, 0.5f, 0.5f);

    sum.red = fmaf(weight, fmaf(f, -0.9f, 1.0f), sum.red);
    sum.green = fmaf(weight, fmaf(f, -0.6f, 1.0f), sum.green);
    sum.blue += weight;
    return sum;
}

static struct demo_light
follow(const struct demo_scene *scene, const uint32_t *floor, struct vec o, struct vec d)
{
    struct demo_light sum = {0};
    float weight = 1.0f;

    for (int bounce = 0; bounce < 4; bounce++) {
        struct demo_sphere paint;
        struct vec n = {0.0f, 1.0f, 0.0f};
        float best;
        int id = nearest(scene, o, d, &best);

        if (id < 0)
            return sky(sum, d.y, weight);
        struct vec p = along_ray(o, d, best);
        if ((uint32_t)id == scene->sphere_count) {
            paint = paint_floor(scene, floor, p);
        } else {
            paint = scene->spheres[id];
            n = over(sub(p, centre(&paint)), paint.radius);
        }

        o = along_ray(p, n, 0.002f);
        float shade = fmaxf(dot(n, lamp), 0.0f);
        if (in_shadow(scene, o))
            shade = 0.0f;
        shade = fmaf(shade, 0.85f, 0.15f);
        float kept = fmaf(-paint.reflect, weight, weight) * shade;
        sum.red = fmaf(kept, paint.red, sum.red);
        sum.green = fmaf(kept, paint.green, sum.green);
        sum.blue = fmaf(kept, paint.blue, sum.blue);
        weight *= paint.reflect;
        d = along_ray(d, n, dot(d, n) * -2.0f);
    }
    return sum;
}

void
demo_trace(const struct demo_scene *scene, const uint32_t *floor, struct demo_light *light)
{
    float w = (float)scene->width, h = (float)scene->height;

    for (uint32_t y = 0; y < scene->height; y++) {
        for (uint32_t x = 0; x < scene->width; x++) {
            struct vec eye = {0.0f, 1.5f, -4.0f};
            struct vec d = {fmaf(w, -0.5f, (float)x) / h, (h * 0.5f - (float)y) / h + -0.1f, 1.1f};

            d = over(d, sqrtf(dot(d, d)));
            light[y * scene->width + x] = follow(scene, floor, eye, d);
        }
    }
}

uint64_t
demo_measure(const struct demo_light *light, uint32_t count)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < count; i++) {
        float l = fmaf(light[i].blue, 30.0f, fmaf(light[i].green, 150.0f, light[i].red * 76.0f));

        total += (uint32_t)nearbyintf(l);
    }
    return total;
}

static uint32_t
tone(float c)
{
    float bent = sqrtf((c * 1.6f) / (c + 0.6f));

    return (uint32_t)nearbyintf(fminf(bent, 1.0f) * 255.0f);
}

void
demo_develop(const struct demo_light *light, uint64_t total, uint32_t count, uint32_t *out)
{
    float mean = (float)total / ((float)count * 256.0f), gain = 0.2f / mean;

    for (uint32_t i = 0; i < count; i++)
        out[i] = tone(light[i].red * gain) | tone(light[i].green * gain) << 8 |
                 tone(light[i].blue * gain) << 16;
}
