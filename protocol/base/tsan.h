/* protocol/base/tsan.h -- what ThreadSanitizer cannot know
 *
 * Memory that is handed over by page protection: who took away the right to write it may read it,
 * whatever other threads wrote before. Between the two the calling thread's reads are not looked
 * at.
 */
#ifndef GP_TSAN_H
#define GP_TSAN_H

#ifdef __SANITIZE_THREAD__
#define GP_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GP_TSAN 1
#endif
#endif

#ifdef GP_TSAN
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define GP_TSAN_READS_GUARDED()      AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define GP_TSAN_READS_GUARDED_DONE() AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#else
#define GP_TSAN_READS_GUARDED()      ((void)0)
#define GP_TSAN_READS_GUARDED_DONE() ((void)0)
#endif

#endif
