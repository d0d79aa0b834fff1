/* backend/driver/soft/exec/pool.c -- worker threads; one grid from start to end
 *
 * The thread that launches takes part: a grid of one cluster never leaves it. Clusters, of one
 * block where the launch names none, are handed out in increasing order. A block that spins or runs
 * long gives way to others of its grid, so that blocks may wait for each other; all blocks of a
 * cooperative grid are alive at once.
 */
#include "backend/driver/soft/exec/warp.h"

#include "protocol/base/log.h"

#include <string.h>

/* Blocks of an ordinary grid that one thread keeps alive at a time. */
#define RESIDENT_MAX 64u

struct job {
    struct sd_grid *grid;
    unsigned helpers; /* threads of the pool in it; guarded by the pool's lock */
    struct job *next;
};

struct sd_pool {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job came, or the end */
    pthread_cond_t left; /* a helper left a job */
    /* Guarded by lock. */
    struct job *jobs;
    struct sd_cpu *free_cpus;
    bool ending;
    unsigned idle;
    /* Written once by sd_pool_create. */
    pthread_t *threads;
    unsigned nthreads;
};

static _Atomic uint64_t grid_numbers;

/* ---- one thread's share of a grid ---- */

static bool
more_clusters(const struct sd_grid *grid)
{
    return atomic_load_explicit(&grid->next_cluster, memory_order_relaxed) < grid->nclusters;
}

static struct sd_cluster *
next_cluster(struct sd_cpu *cpu, struct sd_grid *grid)
{
    uint64_t i;

    if (!more_clusters(grid))
        return NULL;
    i = atomic_fetch_add_explicit(&grid->next_cluster, 1, memory_order_relaxed);
    if (i >= grid->nclusters)
        return NULL;
    return sd_cluster_start(cpu, grid, i);
}

static void
no_memory(struct sd_grid *grid)
{
    pthread_mutex_lock(&grid->fault_lock);
    if (grid->fault.code == CUDA_SUCCESS) {
        grid->fault.code = CUDA_ERROR_OUT_OF_MEMORY;
        strcpy(grid->fault.what, "no host memory for a block");
    }
    pthread_mutex_unlock(&grid->fault_lock);
    atomic_store(&grid->stop, 1);
}

static void
run_grid(struct sd_cpu *cpu, struct sd_grid *grid)
{
    uint64_t limit = grid->launch->cooperative ? UINT64_MAX : RESIDENT_MAX / grid->cluster_size;
    struct sd_cluster *head = NULL, **tail = &head; /* suspended ones, longest first */
    uint64_t resident = 0;
    struct sd_cluster *c;

    cpu->grid = grid;
    memset(cpu->spans, 0, sizeof(cpu->spans));
    (void)sd_cpu_poll(cpu);
    for (;;) {
        bool fresh = resident < limit && more_clusters(grid);

        if (atomic_load_explicit(&grid->stop, memory_order_relaxed) != 0)
            break;
        c = fresh ? next_cluster(cpu, grid) : NULL;
        if (c != NULL) {
            resident++;
        } else if (head != NULL) {
            c = head;
            head = c->next;
            if (head == NULL)
                tail = &head;
        } else if (fresh && more_clusters(grid)) {
            no_memory(grid);
            break;
        } else {
            break;
        }
        if (sd_cluster_run(cpu, c)) {
            sd_cluster_end(cpu, c);
            resident--;
        } else {
            c->next = NULL;
            *tail = c;
            tail = &c->next;
        }
    }
    while (head != NULL) {
        c = head;
        head = c->next;
        sd_cluster_end(cpu, c);
    }
}

/* ---- the pool ---- */

static struct sd_cpu *
cpu_get_locked(struct sd_pool *pool)
{
    struct sd_cpu *cpu = pool->free_cpus;

    if (cpu != NULL)
        pool->free_cpus = cpu->next;
    return cpu;
}

static struct sd_cpu *
cpu_get(struct sd_pool *pool)
{
    struct sd_cpu *cpu;

    pthread_mutex_lock(&pool->lock);
    cpu = cpu_get_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    return cpu != NULL ? cpu : calloc(1, sizeof(*cpu));
}

static void
cpu_put_locked(struct sd_pool *pool, struct sd_cpu *cpu)
{
    cpu->next = pool->free_cpus;
    pool->free_cpus = cpu;
}

static struct job *
find_job(struct sd_pool *pool)
{
    struct job *j;

    for (j = pool->jobs; j != NULL; j = j->next)
        if (more_clusters(j->grid) && atomic_load(&j->grid->stop) == 0)
            return j;
    return NULL;
}

static void *
worker(void *arg)
{
    struct sd_pool *pool = arg;
    struct sd_cpu *cpu = calloc(1, sizeof(*cpu));
    struct job *j = NULL;

    if (cpu == NULL)
        return NULL;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->ending && (j = find_job(pool)) == NULL) {
            pool->idle++;
            pthread_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
        }
        if (pool->ending)
            break;
        j->helpers++;
        pthread_mutex_unlock(&pool->lock);
        run_grid(cpu, j->grid);
        pthread_mutex_lock(&pool->lock);
        if (--j->helpers == 0)
            pthread_cond_broadcast(&pool->left);
    }
    cpu_put_locked(pool, cpu);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum gp_status
sd_pool_create(unsigned threads, struct sd_pool **pool_p)
{
    struct sd_pool *pool = calloc(1, sizeof(*pool));
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    if (pool == NULL)
        return GP_ERR_NO_MEMORY;
    if (threads == 0)
        threads = online > 0 ? (unsigned)online : 1;
    /* The launching thread is one of them. */
    pool->threads = calloc(threads, sizeof(*pool->threads));
    if (pool->threads == NULL) {
        free(pool);
        return GP_ERR_NO_MEMORY;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->left, NULL);
    while (pool->nthreads + 1 < threads) {
        if (pthread_create(&pool->threads[pool->nthreads], NULL, worker, pool) != 0) {
            log_warn("soft device: %u of %u threads started: %m", pool->nthreads + 1, threads);
            break;
        }
        pool->nthreads++;
    }
    *pool_p = pool;
    return GP_OK;
}

void
sd_pool_destroy(struct sd_pool *pool)
{
    unsigned i;

    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (i = 0; i < pool->nthreads; i++)
        pthread_join(pool->threads[i], NULL);
    while (pool->free_cpus != NULL) {
        struct sd_cpu *cpu = pool->free_cpus;

        pool->free_cpus = cpu->next;
        sd_cpu_drop(cpu);
        free(cpu);
    }
    pthread_cond_destroy(&pool->left);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

/* Share a grid with the pool's threads and wait for them. */
static void
run_shared(struct sd_pool *pool, struct sd_cpu *cpu, struct sd_grid *grid)
{
    struct job job = {.grid = grid};
    struct job **p;

    pthread_mutex_lock(&pool->lock);
    for (p = &pool->jobs; *p != NULL; p = &(*p)->next)
        ;
    *p = &job;
    if (pool->idle > 0)
        pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);

    run_grid(cpu, grid);

    pthread_mutex_lock(&pool->lock);
    for (p = &pool->jobs; *p != &job; p = &(*p)->next)
        ;
    *p = job.next;
    while (job.helpers > 0)
        pthread_cond_wait(&pool->left, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

/* Blocks of a cluster; 0: none that divides the grid. */
static uint32_t
cluster_size(const struct sd_launch *launch)
{
    uint32_t n = 1, i;

    for (i = 0; i < 3; i++) {
        if (launch->cluster[i] == 0 || launch->cluster[i] > SD_CLUSTER_MAX ||
            launch->grid[i] % launch->cluster[i] != 0)
            return 0;
        n *= launch->cluster[i];
    }
    return n <= SD_CLUSTER_MAX ? n : 0;
}

CUresult
sd_exec_run(struct sd_pool *pool, const struct sd_launch *launch, struct sd_fault *fault_p)
{
    struct sd_grid grid = {
        .launch = launch,
        .env = launch->env,
        .code = launch->kernel->code,
        .core = sd_core_get(),
        .number = atomic_fetch_add(&grid_numbers, 1) + 1,
        .nblocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2],
        .nthreads = launch->block[0] * launch->block[1] * launch->block[2],
        .fault_lock = PTHREAD_MUTEX_INITIALIZER,
    };
    struct sd_cpu *cpu;

    grid.cluster_size = cluster_size(launch);
    if (grid.code == NULL || grid.nthreads == 0 || grid.nthreads > 1024 || grid.nblocks == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (grid.cluster_size == 0)
        return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    grid.nclusters = grid.nblocks / grid.cluster_size;
    grid.nwarps = (grid.nthreads + 31) / 32;
    grid.shared_bytes = grid.code->static_shared_bytes + launch->dynamic_shared_bytes;
    if (grid.shared_bytes > SD_SHARED_BYTES_MAX ||
        launch->dynamic_shared_bytes > SD_SHARED_BYTES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    cpu = cpu_get(pool);
    if (cpu == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (grid.nclusters > 1 && pool->nthreads > 0)
        run_shared(pool, cpu, &grid);
    else
        run_grid(cpu, &grid);
    pthread_mutex_lock(&pool->lock);
    cpu_put_locked(pool, cpu);
    pthread_mutex_unlock(&pool->lock);
    if (grid.fault.code == CUDA_SUCCESS && atomic_load(&grid.stop) != 0) {
        grid.fault.code = CUDA_ERROR_LAUNCH_FAILED;
        strcpy(grid.fault.what, "cancelled");
    }
    if (grid.fault.code != CUDA_SUCCESS)
        *fault_p = grid.fault;
    return grid.fault.code;
}
