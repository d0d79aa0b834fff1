/* backend/driver/soft/math/sd_math.h -- all numeric helpers of the PTX machine */
#ifndef SD_MATH_H
#define SD_MATH_H

#include "backend/driver/soft/math/sd_approx.h"
#include "backend/driver/soft/math/sd_cvt.h"
#include "backend/driver/soft/math/sd_fp.h"
#include "backend/driver/soft/math/sd_half.h"
#include "backend/driver/soft/math/sd_int.h"
#include "backend/driver/soft/math/sd_round.h"
#include "backend/driver/soft/math/sd_video.h"

#endif
