"""Files of torch's for the tests: two stored ones, and archives put together byte by byte.

The stored files are torch 2.13's, of {"state_dict": ..., "column": weight[:, 1], "p": Parameter}.
"""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from typing import Any

import numpy as np

from engine.serialization import load

ZIPPED = zlib.decompress(
    base64.b85decode(
        "c-o~^NpI6Y6rRLw78lZmLKkS+!G$)B(=<uhQY>T+KF|gsMZH)~VqzCJ>9Z%TK&q&OTHr<z;)vkR9f=d-A8_Z^1L6c{E-+&^sqN4OI`Vjwc)ss_"
        "@A-S<8Hs5_C=x*}qYL#Q#Vl$1k~&^iuo7Q<V2DBt&3VRZa0L)oU<ts&3RdN^UcwM4m1>5ematx{TI?OOteR^17J0%#a3l{5R|pZnvZ_}!3~eP`"
        "BXQz#9qWe0%BEVZ>qc3|YSpTl@=}t8c8)8A?GQCnsi+WgAgpNA6nxkDlZ9|0K=vdcQeenhTC77<3SnSpB_stUW*s^tMhdLMq30S^aTr4^51j>)"
        "KPu{q1zj46qcyk%o19NK>AP)u9(uH>6vS}Erd@+xDX<1d9m-=E`ts0UUx9%_lx&t4RIJeA!Jz&8c!5?HPOQL?ozIeLTBJlUECnpfD%w>cm8&mQ"
        ";iMx*3u_V0PUF<96rk}=OUxRaapIlDa4rw$ZDEUWVTVF4DyBk&s3r>+8>}`Y2^`@LU>KpfkTfpQ+hvD)6vJ2^;?L|K<4+-x2fiMkk;0MBL-6}2"
        "!P7ajqksBPN7Fy?`!#bx!SYtVq7ZJ_h^K@fetdmG_0YL9;ULOv6K**{Rt&vTT~Mo76efJu+}B8_sDRuud=HWk!CeJ(qg+!!@gY`g)YqbL^?%|v"
        "hM{9@s8qw+_00kL{zJQJh@l&vt{hK@!j%IEa9CG!<Tgz%GFQobJ53e!z4*4#PagE|p=i{rh!+KJ--<rv&?g!zJUh2Z8?kMVSkvBENm00Vkn+#b"
        "+-dyz`FHR4j^F8WK-0?ydjAtFjsE3L<=)=@8%D|P2C&n&R8uD%@JOKtt*n<tA^wkI64}&LDx1xwGE?cvL@Jw^m`o(nd?r1aN+)<eJ(Wo&C(>EF"
        "O@Hw>KXOC|XR8cQu}z)sGoh<Rx&J%jN4pPzJ`Zv_h;}+f{3Pxs9`ulGxJg=04nL2(5xYG+Jq&6+0Q_)w*Tg*V*9`LYt{>~}0xy<p^I>^E*6m;~"
        "_LU!-^kd!r>-1oI+mYY#ez4mX!yfQU7x?dnosmMJ(T2U5u_iL=TW<%QH5+nPf}`J0^mt2y^W|s{Ihd%u-`V>I00a7W"
    )
)
LEGACY = zlib.decompress(
    base64.b85decode(
        "c-nQ6NpI6Y6vw?}A%>Q+Q`VN%WeK($5^_p~P%k5vx|g{i%dtnXk!$D8jEg{uluJtCGjQO@$LQDLBOr0$*(QKQ7<ryNZ<gQx|7NDzCnNdsdHeg?"
        "o3F1{+f(iNHyz^y6qBwfiZbSz%z`ZO_8Av(mV$~4=n~E(v6Kn(SQ^HD3fdtxFe%@SnJ41+On^Rtnn~-J6j8<{)QLuQ9L1@G2C30naYmMoph;?Z"
        "K4%t(2<c1ag>fK34UnC%Kq6WgFL}r~3!mYP0osNOx=9<j;Vp|tk%U?xGaf{3FPCv543D#69w(tESt>H_?K=k4O_MfDM8^FQgGRN**iJHE?p8?y"
        "nsgc0^gF%2<yf0`zt?%(g=3}qV4OpXG+szBc8EeWq94F<q7(H1PJE0CO-mA%T{v0#8^*qXl?bWPob<Fr+1=l;Q-5H#-F@P8EX#t^QHy8@Ia5Mr"
        "aF(buI9CDAOSs^|#e4#*w1r!}JtqComp)u7=Py%CDsW{2S4*$+o4ZC-A;hq(7*;jkOW}GYEm~-JEvk&J?+~@naD(VGxLIkqCE>OUcc@xC5xD!G"
        "!jFCKqd3M5F#jc?+pe?OvmMw#l8U5zg<CXwzX%U1(nASt7akp!1M36WE;z+&d0o7g1!t*?%Bd~#r?Yk;ziQKg_UrFxpd2-nzuR<xVGBR(Q|w>1"
        "egYwU)-?"
    )
)


def archive(data: bytes, storages: dict[str, bytes] | None = None, root: str = "archive", **more: bytes) -> bytes:
    """An archive as torch lays it out, with any bytes as its pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        records = {"data.pkl": data, "version": b"3\n", **more}
        records.update({f"data/{key}": value for key, value in (storages or {}).items()})
        for name, value in records.items():
            file.writestr(f"{root}/{name}", value)
    return out.getvalue()


def read(data: bytes, **options: Any) -> Any:
    return load(io.BytesIO(data), **options)


def tensor_pickle(
    kind: str = "FloatStorage", key: str = "0", location: str = "cpu", count: Any = 4, offset: Any = 0,
    size: Any = (2, 2), stride: Any = (2, 1), first: str = "storage", metadata: bytes = b"",
) -> bytes:  # fmt: skip
    """The pickle of one tensor, in the opcodes that are text."""

    def numbers(values: Any) -> bytes:
        return b"(" + b"".join(b"I%d\n" % value for value in values) + b"t"

    reference = f"(V{first}\nctorch\n{kind}\nV{key}\nV{location}\nI{count}\ntQ".encode()
    arguments = reference + b"I%d\n" % offset + numbers(size) + numbers(stride) + b"I00\nN" + metadata
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR."


FOUR = np.arange(4, dtype="<f4").tobytes()
